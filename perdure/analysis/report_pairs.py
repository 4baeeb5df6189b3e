"""Paired comparisons in the report: a row per pair of a few strategies, a matrix of many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perdure.analysis.metrics import Array
from perdure.analysis.registry import METRICS
from perdure.analysis.report_tables import Cell, Table, interval
from perdure.analysis.statistics import (
    EXACT_UP_TO,
    bootstrap_interval,
    holm,
    paired_test,
    probability_of_improvement,
)
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.analysis.results import Results

FEW = 3  # the most strategies whose pairs get a row each
LEVEL = 0.05
RESAMPLES = 10_001  # the signs that a test draws, and those that were seen


def tables(results: Results) -> Iterator[Table]:
    """Give a table of paired comparisons for average accuracy and one for forgetting.

    Up to three strategies: a row per pair. More: a matrix with the difference of row and column.
    """
    if len(results.seeds) < 2:
        return
    for metric in ("average_accuracy", "forgetting"):
        values = _per_seed(results, metric)
        if len(values) < 2:
            continue
        tests = _tests(values)
        if len(values) > FEW:
            yield _matrix(metric, values, tests)
        else:
            yield _pair_rows(metric, values, tests)


def _per_seed(results: Results, metric: str) -> dict[str, Array]:
    """Values of the strategies that have the metric; NaN where it is not defined."""
    values = {}
    for name in results.strategies:
        try:
            found = results.metric(metric, name)
        except PerdureError:  # not defined for this strategy
            continue
        values[name] = np.where(np.isfinite(found), found, np.nan)
    return values


class Test(NamedTuple):
    """What a pair of strategies shows over the seeds that both have."""

    gaps: Array
    low: float
    high: float
    p: float
    p_holm: float


def _tests(values: dict[str, Array]) -> dict[tuple[str, str], Test]:
    """Test every pair, corrected for the number of pairs."""
    gaps = {(a, b): values[a] - values[b] for a, b in combinations(values, 2)}
    gaps = {pair: gap[~np.isnan(gap)] for pair, gap in gaps.items()}
    gaps = {pair: gap for pair, gap in gaps.items() if len(gap)}
    found = [paired_test(gap, np.zeros(len(gap))) for gap in gaps.values()]
    return {
        pair: Test(gap, *bootstrap_interval(gap), p, float(corrected))
        for (pair, gap), p, corrected in zip(gaps.items(), found, holm(found), strict=True)
    }


def note(results: Results) -> str:
    """Say where the correction leaves no difference a chance: with few seeds and many pairs."""
    count, seeds = len(results.strategies), len(results.seeds)
    tests = count * (count - 1) // 2
    smallest = 2.0 ** (1 - seeds) if seeds <= EXACT_UP_TO else 1 / RESAMPLES
    if tests * smallest < LEVEL:
        return ""
    return (
        f"With {seeds} seeds and {tests} pairs no corrected p can be below {min(1.0, tests * smallest):.2g}."
    )


def _pair_rows(metric: str, values: dict[str, Array], tests: dict[tuple[str, str], Test]) -> Table:
    rows = []
    for (first, second), test in tests.items():
        both = ~np.isnan(values[first] - values[second])
        better = (first, second) if METRICS[metric].higher_is_better else (second, first)
        chance = probability_of_improvement(*(values[name][both] for name in better))
        cells = [
            Cell(interval(float(test.gaps.mean()), test.low, test.high)),
            Cell(f"{test.p:.3g}"),
            Cell(f"{test.p_holm:.3g}", test.p_holm < LEVEL),
            Cell(f"{chance:.2f}"),
        ]
        rows.append((f"{first} − {second}", cells))
    columns = ["difference [95 % interval]", "p", "p (Holm)", "P(first is better)"]
    return Table(METRICS[metric].label, columns, rows)


def _matrix(metric: str, values: dict[str, Array], tests: dict[tuple[str, str], Test]) -> Table:
    names = list(values)
    sign = 1 if METRICS[metric].higher_is_better else -1
    rows = []
    for number, row in enumerate(names, start=1):
        cells = [_versus(row, column, tests, sign) for column in names]
        marks = [cell.mark for cell in cells]
        count = Cell(f"{marks.count('better')} / {marks.count('worse')}")
        rows.append((f"{number}\N{NO-BREAK SPACE} {row}", [*cells, count]))
    columns = [*(str(number + 1) for number in range(len(names))), "better / worse"]
    return Table(METRICS[metric].label, columns, rows)


def _versus(row: str, column: str, tests: dict[tuple[str, str], Test], sign: int) -> Cell:
    """Difference of row and column: marked where its interval leaves out 0, bold where p is below 0.05."""
    turned = (row, column) not in tests
    test = tests.get((column, row) if turned else (row, column))
    if test is None:
        return Cell("")
    gap = float(test.gaps.mean()) * (-1 if turned else 1)
    mark = "level"
    if test.low > 0 or test.high < 0:
        mark = "better" if sign * gap > 0 else "worse"
    hint = f"{row} − {column}: {gap:+.3f}, p {test.p:.3g}, corrected {test.p_holm:.3g}"
    return Cell(f"{gap:+.2f}".replace("-", "−"), test.p_holm < LEVEL, mark, hint)
