"""What was measured of hidden units at the end of each task (``watch-plasticity``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perdure.analysis import watchers
from perdure.analysis.diverged import cleared
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.statistics import bootstrap_band
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

WATCHER = "watch-plasticity"
# The measures, and what figures call them.
MEASURES = {
    "dormant": "share of dormant units",
    "rank": "effective rank",
    "weight": "mean |weight|",
}


@dataclass(frozen=True)
class Watched:
    """What was measured of one strategy, NaN for a replica that diverged.

    Parameters
    ----------
    tasks:
        The tasks at whose ends it was measured, counted from 0, ``[measured]``; a strategy that learns
        several tasks at once has the last of them.
    values:
        By measure (the keys of :data:`MEASURES`), ``[replica, measured]``.
    """

    tasks: npt.NDArray[np.int64]
    values: dict[str, Array]


def watched(results: Record) -> list[str]:
    """Name the strategies whose hidden units were watched."""
    return watchers.watched(results, WATCHER)


def of(results: Record, strategy: str) -> Watched:
    """Return what was measured of a strategy; refused where nothing was."""
    missing = f"expected what was seen of the hidden units of {strategy!r}; found nothing"
    report = watchers.reported(results, strategy, WATCHER, (*MEASURES, "seen"), missing)
    shape = (len(results.seeds), len(results.tasks))
    if not report or any(v.shape != shape for v in report.values()):
        raise PerdureError(
            f"expected what {WATCHER} reports of {strategy!r}, for {shape[0]} seeds and {shape[1]} tasks; "
            "found something else"
        )
    tasks = np.flatnonzero((report["seen"] > 0).all(axis=0)).astype(np.int64)
    return Watched(tasks, {k: cleared(results, strategy, report[k][:, tasks]) for k in MEASURES})


def table(results: Record, confidence: float = 0.95) -> pd.DataFrame:
    """Measures of each strategy by task: what ``Results.plasticity`` returns."""
    from perdure.analysis.whole import Whole

    rows = []
    for strategy in needed(results):
        found = of(results, strategy)
        for measure, values in found.values.items():
            known = values[~np.isnan(values).any(axis=1)]
            if not len(known):
                continue
            low, high = bootstrap_band(known, confidence)
            for place, task in enumerate(found.tasks.tolist()):
                centre, edges = float(known[:, place].mean()), (float(low[place]), float(high[place]))
                rows.append((strategy, measure, task, results.tasks[task], centre, *edges, len(known)))
    columns = ["strategy", "measure", "task", "task_name", "mean", "low", "high", "seeds"]
    return Whole(rows, columns=columns)


def needed(results: Record) -> list[str]:
    """Name the strategies that were watched; refused where none was."""
    found = watched(results)
    if not found:
        raise PerdureError(
            "expected a strategy whose hidden units were watched; found only "
            f"{', '.join(results.strategies)}: run 'naive + {WATCHER}', say"
        )
    return found
