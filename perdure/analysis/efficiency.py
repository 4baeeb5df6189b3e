"""Sample efficiency: how many steps each task took until it was learned well enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.diverged import diverged
from perdure.analysis.metrics import needs, steps, worlds
from perdure.analysis.metrics.curves import Stages
from perdure.analysis.metrics.matrix import Array, Undefined
from perdure.analysis.statistics import bootstrap_interval
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

Threshold = float | Sequence[float] | None


def limits(results: Record, threshold: Threshold) -> Array:
    """Threshold of each task, ``[task]``: the one that is given, else what the stream says."""
    if threshold is None:
        return worlds.thresholds(results, needs.signs(results))
    try:
        found = np.asarray(threshold, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.shape not in ((), (len(results.tasks),)) or not np.isfinite(found).all():
        raise PerdureError(
            f"expected a threshold that is a number, or one for each of the {len(results.tasks)} tasks; "
            f"found {shown(threshold)}"
        )
    return np.broadcast_to(found, len(results.tasks))


def of(results: Record, strategy: str, threshold: Threshold = None, restricted: bool = False) -> Array:
    """Steps until each task's threshold, ``[replica, task]``: what ``Results.steps_to_threshold`` returns.

    ``restricted`` puts the steps of the task's stage in the place of those that never reached it.
    """
    needs.check_strategy_name(results, strategy)
    limit = limits(results, threshold) * needs.signs(results)
    function = steps.restricted_time if restricted else steps.time_to_threshold

    def count(scores: Array, stage: Stages, at: Array) -> Array:
        return function(scores, stage, at, limit)

    wanted = ("own_curve", "curve_stage", "curve_steps")
    return needs.compute(results, count, wanted, "steps_to_threshold", strategy)


def table(results: Record, threshold: Threshold = None, confidence: float = 0.95) -> pd.DataFrame:
    """Steps of all strategies that learn task after task: what ``Results.sample_efficiency`` returns."""
    from perdure.analysis.whole import Whole

    limit, rows = limits(results, threshold), []
    refusal: PerdureError | None = None
    for strategy in results.strategies:
        kept = ~diverged(results, strategy)
        try:
            times = of(results, strategy, threshold)[kept]
            cut = of(results, strategy, threshold, restricted=True)[kept]
        except PerdureError as error:
            refusal = refusal if isinstance(error, Undefined) else error
            continue
        for task, name in enumerate(results.tasks):
            values, reached = cut[:, task], int(np.isfinite(times[:, task]).sum())
            known = len(values) > 0
            edges = bootstrap_interval(values, confidence) if known else (np.nan, np.nan)
            mean = float(values.mean()) if known else np.nan
            rows.append((strategy, task, name, float(limit[task]), mean, *edges, len(values), reached))
    if not rows and refusal is not None:
        raise refusal
    columns = ["strategy", "task", "task_name", "threshold", "mean", "low", "high", "seeds", "reached"]
    found = Whole(rows, columns=columns)
    found.attrs["unit"] = worlds.unit(results)
    return found
