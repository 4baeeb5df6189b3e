"""Tables of results: summary with intervals, tidy long form, paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perdure.analysis.diverged import diverged, lost_seeds
from perdure.analysis.metrics import needs, registry
from perdure.analysis.metrics.matrix import Array, Undefined, mean, ratio
from perdure.analysis.statistics import (
    bootstrap_interval,
    bootstrap_ratio,
    holm,
    holm_note,
    paired_test,
    probability_of_improvement,
)
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

# What `against` says to ask for all pairs.
EVERY = "all"


class Sample(NamedTuple):
    """A metric of one strategy over the seeds for which it is defined.

    Parameters
    ----------
    seeds:
        Places of those seeds, ``[n]``.
    values:
        One number per seed, ``[n]``, whose mean is the metric.
    top, bottom:
        Of a metric that divides means over seeds: numerators and denominators, ``[n, tasks]``.
    """

    seeds: npt.NDArray[np.intp]
    values: Array
    top: Array | None = None
    bottom: Array | None = None

    def pick(self, seeds: npt.NDArray[np.intp]) -> Sample:
        """Return the sample of some of its seeds."""
        here = np.isin(self.seeds, seeds)
        if self.top is None or self.bottom is None:
            return Sample(seeds, self.values[here])
        return fraction(seeds, self.top[here], self.bottom[here])

    def minus(self, other: Sample) -> Sample:
        """Return the paired difference; both divide by the same baselines."""
        top = None if self.top is None or other.top is None else self.top - other.top
        return Sample(self.seeds, self.values - other.values, top, self.bottom)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Bootstrap interval over seeds."""
        if self.top is None or self.bottom is None:
            return bootstrap_interval(self.values, confidence)
        return bootstrap_ratio(self.top, self.bottom, confidence)


def fraction(seeds: npt.NDArray[np.intp], top: Array, bottom: Array) -> Sample:
    """Return the sample of a metric that divides means: each seed's share of the ratio of means."""
    base = bottom.mean(axis=0) if len(bottom) else bottom.sum(axis=0)
    return Sample(seeds, mean(ratio(top, np.broadcast_to(base, top.shape))), top, bottom)


def _sample(results: Record, metric: str, strategy: str, dialect: str) -> Sample:
    values = needs.evaluate(results, metric, strategy, dialect)
    parts = needs.parts(results, metric, strategy, dialect)
    if parts is None:
        seeds = np.flatnonzero(~np.isnan(values))
        return Sample(seeds, values[seeds])
    top, bottom = parts
    seeds = np.flatnonzero(~np.isnan(top + bottom).any(axis=-1))
    return fraction(seeds, top[seeds], bottom[seeds])


def samples(results: Record, metric: str, dialect: str = "paper") -> dict[str, Sample]:
    """Values of every strategy for which the metric is defined; refuse one that was not measured for any.

    Empty where the metric has no meaning for these strategies, as forgetting for joint training.
    """
    found: dict[str, Sample] = {}
    refusal: PerdureError | None = None
    registry.lookup(metric, dialect)
    for strategy in results.strategies:
        try:
            found[strategy] = _sample(results, metric, strategy, dialect)
        except Undefined:
            continue
        except PerdureError as error:
            refusal = error
    if not found and refusal is not None:
        raise refusal
    return found


def means(
    results: Record,
    metrics: Sequence[str] | None = None,
    dialect: str = "paper",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean and interval of each metric: what ``Results.table`` returns."""
    from perdure.analysis.whole import Whole

    names = registry.defined(dialect) if metrics is None else metrics
    columns = {name: _column(results, name, dialect, metrics is not None) for name in names}
    lost = {strategy: len(seeds) for strategy, seeds in lost_seeds(results).items()}
    rows = []
    for strategy in results.strategies:
        for name, column in columns.items():
            if (sample := column.get(strategy)) is None:
                continue
            if len(sample.values) and not np.isnan(sample.values).any():
                middle = float(sample.values.mean()), *sample.interval(confidence)
            elif lost.get(strategy) == len(results.seeds):
                middle = (float("nan"),) * 3
            else:
                continue  # undefined for every seed, such as a gain over zero
            counts = len(sample.values), _censored(results, name, strategy, sample), lost.get(strategy, 0)
            rows.append((strategy, name, *middle, *counts))
    head = ["strategy", "metric", "mean", "low", "high", "seeds", "censored", "diverged"]
    table = Whole(rows, columns=head)
    table = table if table["censored"].any() else table.drop(columns="censored")
    return table if lost else table.drop(columns="diverged")


def _censored(results: Record, metric: str, strategy: str, sample: Sample) -> int:
    """Of how many of the seeds that a metric is meaned over it is a lower bound only."""
    found = needs.censored(results, metric, strategy)
    return 0 if found is None else int(found[sample.seeds].sum())


def _column(results: Record, metric: str, dialect: str, asked: bool) -> dict[str, Sample]:
    try:
        return samples(results, metric, dialect)
    except PerdureError:
        if asked:
            raise
        return {}


def cell(mean: float, low: float, high: float, diverged: int = 0, digits: int = 3, censored: int = 0) -> str:
    """Return "mean [low, high]" as text; a star marks a mean without the seeds that diverged.

    "≥" marks one of which some seeds' numbers are lower bounds.
    """
    if np.isnan(mean):
        return "diverged"
    star, bound = "*" if diverged else "", "≥ " if censored else ""
    if np.isnan(low):  # one seed has no interval
        return f"{bound}{mean:.{digits}f}{star}"
    return f"{bound}{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{star}"


def marked_cell(row: Any) -> str:
    """Return a row of :func:`means` as text, with as many digits as its metric asks for."""
    lost, bounds = getattr(row, "diverged", 0), getattr(row, "censored", 0)
    return cell(row.mean, row.low, row.high, lost, registry.METRICS[row.metric].digits, bounds)


def tidy(results: Record) -> pd.DataFrame:
    """One row per score: what ``Results.frame`` returns."""
    import pandas as pd

    # Half a character, as names of files may have, fits in no column.
    names = [name.encode(errors="backslashreplace").decode() for name in results.tasks]
    parts = []
    for strategy, scores in results.scores.items():
        replica, stage, task = (axis.ravel() for axis in np.indices(scores.shape))
        parts.append(
            pd.DataFrame(
                {
                    "strategy": strategy,
                    "seed": np.asarray(results.seeds)[replica],
                    "stage": stage,
                    "task": task,
                    "score": scores.ravel(),
                    "task_name": np.asarray(names, dtype=object)[task],
                    "diverged": diverged(results, strategy)[replica],
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table if lost_seeds(results) else table.drop(columns="diverged")


def pairs(
    results: Record,
    metric: str,
    dialect: str = "paper",
    confidence: float = 0.95,
    against: str | None = None,
) -> pd.DataFrame:
    """Pairs of strategies, paired by seed: what ``Results.compare`` returns."""
    from perdure.analysis.whole import Whole

    found = samples(results, metric, dialect)
    if against is None:
        against = default_baseline(results, list(found))
    elif against != EVERY and against not in found:
        needs.evaluate(results, metric, against, dialect)  # says why
    higher = needs.prefers_higher(results, metric)
    rows = [
        (metric, first, second, *_pair(found[first], found[second], confidence, higher))
        for first, second in combinations(found, 2)
        if against in (EVERY, first, second)
    ]
    names = ["metric", "first", "second", "difference", "low", "high", "p", "improvement", "seeds"]
    table = Whole(rows, columns=names)
    table.insert(names.index("p") + 1, "p_holm", holm(table["p"].to_numpy(dtype=np.float64)))
    table.attrs["note"] = holm_note(int(table["p"].count()), int(table["seeds"].max()) if len(table) else 0)
    return table


def default_baseline(results: Record, names: Sequence[str]) -> str | None:
    """Name what the others are compared against: naive where it is there, else the first."""
    naive = needs.baseline(results, "naive")
    return naive if naive in names else next(iter(names), None)


def _pair(first: Sample, second: Sample, confidence: float, higher: bool) -> tuple[float, ...]:
    both = np.intersect1d(first.seeds, second.seeds)
    if not len(both):
        return (float("nan"),) * 5 + (0,)
    one, two = first.pick(both), second.pick(both)
    gap = one.minus(two)
    better = (one, two) if higher else (two, one)
    return (
        float(np.mean(gap.values)),
        *gap.interval(confidence),
        paired_test(one.values, two.values),
        probability_of_improvement(better[0].values, better[1].values),
        len(both),
    )
