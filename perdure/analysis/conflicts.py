"""What was measured of the tasks' gradients while a strategy learned them together (``watch-conflicts``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import watchers
from perdure.analysis.diverged import cleared
from perdure.analysis.metrics.matrix import Array, ratio
from perdure.analysis.statistics import bootstrap_interval
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

WATCHER = "watch-conflicts"


@dataclass(frozen=True)
class Watched:
    """The gradients of one strategy's tasks over its training, NaN for a replica that diverged.

    Parameters
    ----------
    steps:
        The step in the middle of each stretch of training, ``[stretch]``.
    share:
        Share of the pairs of tasks that conflicted in it, ``[replica, stretch]``.
    cosines:
        Mean cosine of each pair over all of training, ``[replica, task, task]``.
    affinity:
        Share of the loss of the second task that a step of unit length against the gradient of the first
        takes away, to first order, meaned over training, ``[replica, task, task]``.
    """

    steps: Array
    share: Array
    cosines: Array
    affinity: Array


def watched(results: Record) -> list[str]:
    """Name the strategies whose gradients were watched."""
    return watchers.watched(results, WATCHER)


def of(results: Record, strategy: str) -> Watched:
    """Return what was measured of a strategy; refused where nothing was."""
    missing = f"expected the gradients of each task of {strategy!r}; found none"
    report = watchers.reported(results, strategy, WATCHER, _SHAPES, missing)
    seeds = len(results.seeds)
    if any(v.ndim != _SHAPES[k] or len(v) != seeds or not v.size for k, v in report.items()) or not report:
        raise PerdureError(
            f"expected what {WATCHER} reports of {strategy!r}, for {seeds} seeds; found something else"
        )
    width = report["width"][0]
    used = int(np.ceil(report["steps"][0] / width))
    ends = np.minimum(np.arange(1, used + 1) * width, report["steps"][0])
    middle = (np.arange(used) * width + ends) / 2
    share = ratio(report["conflicts"][:, :used], report["pairs"][:, :used])
    return Watched(
        middle, *(cleared(results, strategy, v) for v in (share, report["cosines"], report["affinity"]))
    )


# What is reported and how many axes it has, the first of replicas.
_SHAPES = {"steps": 1, "width": 1, "conflicts": 2, "pairs": 2, "cosines": 3, "affinity": 3}


def table(results: Record, confidence: float = 0.95) -> pd.DataFrame:
    """Share of conflicting pairs over training: what ``Results.conflicts`` returns."""
    from perdure.analysis.whole import Whole

    rows = []
    for strategy in needed(results):
        found = of(results, strategy)
        for step, shares in zip(found.steps, found.share.T, strict=True):
            values = shares[~np.isnan(shares)]
            if len(values):
                edges = bootstrap_interval(values, confidence)
                rows.append((strategy, float(step), float(values.mean()), *edges, len(values)))
    return Whole(rows, columns=["strategy", "step", "mean", "low", "high", "seeds"])


def needed(results: Record) -> list[str]:
    """Name the strategies that were watched; refused where none was."""
    found = watched(results)
    if not found:
        raise PerdureError(
            f"expected a strategy whose gradients were watched; found only {', '.join(results.strategies)}: "
            f"run 'weighted + {WATCHER}', say"
        )
    return found
