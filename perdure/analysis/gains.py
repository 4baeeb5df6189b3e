"""What learning tasks together gains or costs each of them, against learning it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.metrics.matrix import Array, ratio
from perdure.analysis.metrics.needs import against_single, baseline
from perdure.analysis.tables import Sample, fraction

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record


def of(results: Record, strategy: str, relative: bool = True) -> Array:
    """Gain on each task, ``[replica, task]``: what ``Results.gain`` returns."""
    difference, base = against_single(results, strategy)
    return 100 * ratio(difference, base) if relative else difference


def table(results: Record, relative: bool = True, confidence: float = 0.95) -> pd.DataFrame:
    """Gains of all strategies but the single-task learner: what ``Results.gains`` returns."""
    from perdure.analysis.whole import Whole

    single = baseline(results, "single")
    rows = []
    for strategy in results.strategies:
        difference, base = against_single(results, strategy)
        if strategy == single:
            continue
        samples = [_sample(difference[:, t], base[:, t], relative) for t in range(len(results.tasks))]
        means = np.array([s.values.mean() if len(s.values) else np.nan for s in samples])
        worst = int(np.nanargmin(means)) if np.isfinite(means).any() else -1
        for t, (name, mean, sample) in enumerate(zip(results.tasks, means, samples, strict=True)):
            edges = sample.interval(confidence) if len(sample.values) else (float("nan"),) * 2
            rows.append((strategy, t, name, float(mean), *edges, len(sample.values), t == worst))
    columns = ["strategy", "task", "task_name", "mean", "low", "high", "seeds", "worst"]
    return Whole(rows, columns=columns)


def _sample(difference: Array, base: Array, relative: bool) -> Sample:
    """Gain of one task over the seeds for which it is defined, of its ``[replica]`` values."""
    seeds = np.flatnonzero(~np.isnan(difference + base if relative else difference))
    if not relative:
        return Sample(seeds, difference[seeds])
    return fraction(seeds, 100 * difference[seeds, None], base[seeds, None])
