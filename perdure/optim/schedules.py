"""Learning-rate schedules: the factor of the rate from the step and the number of steps of a phase."""

from __future__ import annotations

import math
from collections.abc import Callable

from perdure.core.checks import check_number
from perdure.core.registry import Registry

SCHEDULES: Registry[Callable[[int, int], float]] = Registry("learning-rate schedule")


@SCHEDULES.register("constant")
def constant() -> Callable[[int, int], float]:
    """Return the schedule that leaves the learning rate alone."""
    return lambda step, total: 1.0


@SCHEDULES.register("cosine")
def cosine(floor: float = 0.0) -> Callable[[int, int], float]:
    """Return a half cosine from 1 to ``floor``, in [0, 1], over each phase."""
    check_number("floor", floor, high=1, ends="[]")
    return lambda step, total: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))


@SCHEDULES.register("linear")
def linear(warmup: float = 0.0) -> Callable[[int, int], float]:
    """Return a rise over the share ``warmup`` of each phase, then a straight line to 0."""
    check_number("warmup, a share of the phase,", warmup, high=1, ends="[]")

    def factor(step: int, total: int) -> float:
        rise = warmup * total
        # A rise that ends between two steps would go beyond 1.
        return min(1.0, (step + 1) / rise) if step < rise else max(0.0, (total - step) / max(total - rise, 1))

    return factor


@SCHEDULES.register("steps")
def steps(every: float = 0.5, factor: float = 0.1) -> Callable[[int, int], float]:
    """Return a schedule that multiplies the rate by ``factor`` after each share ``every`` of a phase.

    Both lie in (0, 1].
    """
    check_number("every, a share of the phase,", every, high=1, ends="(]")
    check_number("factor", factor, high=1, ends="(]")
    # A share may be so small that the division overflows; the rate is 0 long before.
    return lambda step, total: factor ** int(min(step / max(total, 1) / every, 1e9) + 1e-9)
