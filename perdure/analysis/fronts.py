"""The front that strategies form: which of them no other beats on every task, and what they dominate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perdure.analysis.anchors import chance
from perdure.analysis.diverged import kept
from perdure.analysis.metrics.front import hypervolume, pareto
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.needs import check_strategy_name, signs
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

MOST = 6  # tasks of a hypervolume, whose cost grows exponentially with them


def places(results: Record, tasks: Sequence[int] | None) -> list[int]:
    """Return the tasks that are asked for, all where none are named; refuse others."""
    count = len(results.tasks)
    found = list(range(count) if tasks is None else tasks)
    if not found or len(set(found)) < len(found) or not all(type(t) is int and 0 <= t < count for t in found):
        raise PerdureError(f"tasks must be different numbers in [0, {count}); found {shown(tasks)}")
    return found


def points(results: Record, tasks: Sequence[int] | None = None) -> Array:
    """Final scores turned so that higher is better, ``[strategy, replica, task]``; NaN where one diverged."""
    chosen = places(results, tasks)
    turned = [kept(results, name)[:, -1] * signs(results) for name in results.strategies]
    return np.stack(turned)[..., chosen]


def centres(values: Array) -> Array:
    """Mean over the replicas that did not diverge, ``[strategy, task]``; NaN where all did."""
    alive = [of[np.isfinite(of).all(axis=1)] for of in values]
    return np.stack([a.mean(axis=0) if len(a) else np.full(values.shape[2], np.nan) for a in alive])


def efficient(values: Array) -> npt.NDArray[np.bool_]:
    """Tell which of some points, ``[n, tasks]``, are on the front; those that are not finite are not."""
    known = np.isfinite(values).all(axis=1)
    found = np.zeros(len(values), dtype=bool)
    found[known] = pareto(values[known]) if known.any() else False
    return found


def table(results: Record, tasks: Sequence[int] | None = None) -> pd.DataFrame:
    """Mean score on each task, and who is on the front: what ``Results.front`` returns."""
    from perdure.analysis.whole import Whole

    chosen, values = places(results, tasks), points(results, tasks)
    middle = centres(values)
    by_seed = np.stack([efficient(values[:, k]) for k in range(values.shape[1])])
    return Whole(
        {
            "strategy": results.strategies,
            **{
                f"{t} {results.tasks[t]}": signs(results)[t] * middle[:, place]
                for place, t in enumerate(chosen)
            },
            "front": efficient(middle),
            "share": by_seed.mean(axis=0),
        }
    )


def volumes(
    results: Record,
    reference: float | Sequence[float] | None = None,
    tasks: Sequence[int] | None = None,
    strategies: Sequence[str] | None = None,
) -> Array:
    """Hypervolume of some strategies together, ``[replica]``: what ``Results.hypervolume`` returns."""
    chosen = places(results, tasks)
    names = results.strategies if strategies is None else list(strategies)
    for name in names:
        check_strategy_name(results, name)
    if len(chosen) > MOST:
        raise PerdureError(
            f"expected at most {MOST} tasks, as the cost grows exponentially with them; found {len(chosen)}: "
            "name some, tasks=(0, 1, 2)"
        )
    if reference is None:
        floor = chance(results).mean(axis=0)[chosen]
    else:
        floor = np.asarray(reference, dtype=np.float64)
        if floor.shape not in ((), (len(chosen),)):
            raise PerdureError(
                f"expected a reference: a number, or one for each of the {len(chosen)} tasks; found "
                f"{shown(reference)}"
            )
    floor = np.broadcast_to(floor, len(chosen)) * signs(results)[chosen]
    values = points(results, tasks)[[results.strategies.index(name) for name in names]]
    found = []
    for k in range(values.shape[1]):
        alive = values[:, k][np.isfinite(values[:, k]).all(axis=1)]
        found.append(hypervolume(alive, floor) if len(alive) else np.nan)
    return np.array(found)
