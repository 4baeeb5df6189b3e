"""What a run has recorded, by key: mapped functions run as records, or as they are where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from perdure.core.errors import PerdureError
from perdure.core.foreign_draws import no_foreign_draws
from perdure.engine.costs import Clock, Costs
from perdure.engine.flops import CountFlops
from perdure.engine.recording.trace import Traced
from perdure.engine.replicas import Mapper

# Records whose operations are no training.
SCORING = ("score", "episode")


@dataclass(eq=False)
class Records:
    """Runs mapped functions, recording each the first time, and counts their operations.

    Parameters
    ----------
    module:
        The architecture: its own generators must not be drawn from.
    mapper:
        What maps over replicas; without mapping there is nothing to record.
    device:
        Where the replicas are.
    clock, costs:
        Where the time of recording, and operations, are counted.
    """

    module: nn.Module
    mapper: Mapper
    device: torch.device
    clock: Clock
    costs: Costs
    made: dict[Any, Traced | None] = field(default_factory=dict)
    _flops: dict[Any, float] = field(default_factory=dict)  # of what runs unrecorded

    def loop(
        self, key: Any, body: Callable[..., Any], carry: Any, times: int, *shared: Any, first: int = 0,
        look: Callable[[Any], None] | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Run ``carry, row = body(carry, *shared, at)`` so many times, recorded once: rollouts, and episodes.

        Returns what is carried at the end, and the rows of all steps, with an axis of steps after that of
        replicas. ``at`` is a 0-d tensor that counts from ``first``: what draws go by. ``look`` is shown what
        is carried after each step, and must copy what it keeps: the next step writes on it.
        """
        steps = torch.arange(first, first + times, device=self.device).unbind()
        record = self._recorded(key, body, (carry, *shared, steps[0]), 1, loops=True)
        if record is not None:
            self._count(key, record.flops * times)
            with torch.no_grad():
                return record.loop(carry, shared, steps, first, look)
        rows = []
        for at in steps:
            carry, row = self.unrecorded(key, body, (carry, *shared, at))
            rows.append(row)
            if look is not None:
                look(carry)
        return carry, pytree.tree_map(lambda *some: torch.stack(some, 1), *rows)

    def run(
        self, key: Any, mapped: Callable[..., Any], arguments: tuple[Any, ...], step: int = 0,
        donate: int = 1, ahead: int | None = None,
    ) -> Any:  # fmt: skip
        """Run a mapped function, recording it the first time; one that cannot be recorded runs as it is.

        The first ``donate`` arguments are given up, and results stand for them. ``ahead`` is how many steps
        from this one on can follow, where it is known: draws are made for no more.
        """
        record = self._recorded(key, mapped, arguments, donate)
        if record is None:
            return self.unrecorded(key, mapped, arguments)
        with torch.no_grad():
            self._count(key, record.flops)
            return record(*arguments, step=step, ahead=ahead)

    def _recorded(
        self,
        key: Any,
        mapped: Callable[..., Any],
        arguments: tuple[Any, ...],
        donate: int,
        loops: bool = False,
    ) -> Traced | None:
        """Return a function's record, made the first time; ``None`` if what it does depends on values."""
        if self.mapper.enabled and key not in self.made:
            self.made[key] = self._record(key, mapped, arguments, donate, loops)
        return self.made.get(key)

    def _record(
        self, key: Any, mapped: Callable[..., Any], arguments: tuple[Any, ...], donate: int, loops: bool
    ) -> Traced | None:
        try:
            with self.clock.during(self.costs, "warmup"), no_foreign_draws(self.module):
                return Traced(mapped, arguments, donate, loops)
        except PerdureError:
            raise
        except Exception as error:
            # A failure that is not about recording will show when the function runs.
            self.mapper.refuse(error, key)
            return None

    def unrecorded(self, key: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run what has no record; its operations are counted the first time, and taken as the same after."""
        with torch.no_grad():
            if key in self._flops:
                result = function(*arguments)
            else:
                with CountFlops() as counted, no_foreign_draws(self.module):
                    result = function(*arguments)
                self._flops[key] = counted.total
        self._count(key, self._flops[key])
        return result

    def _count(self, key: Any, flops: float) -> None:
        """Count operations of all replicas, where they are training."""
        if key[0] not in SCORING:
            self.costs.flops += flops / self.mapper.replicas

    def forget(self) -> None:
        """Let go of what records remember of a phase: its data, and the replicas as they were."""
        for record in self.made.values():
            if record is not None:
                record.forget()
