"""The tables of the report, as text: groups of metrics, paired comparisons, costs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perdure.analysis.diverged import remark
from perdure.analysis.metrics import Array
from perdure.analysis.needs import kind_of, one_stage
from perdure.analysis.registry import METRICS
from perdure.analysis.statistics import (
    EXACT_UP_TO,
    bootstrap_interval,
    holm,
    paired_test,
    probability_of_improvement,
)
from perdure.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.results import Results

BOUNDS = ("joint", "cumulative")
FEW = 3  # the most strategies whose pairs get a row each
LEVEL = 0.05
RESAMPLES = 10_001  # the signs that a test draws, and those that were seen

GROUPS: dict[str, tuple[str, ...]] = {
    "Summary": (
        "average_accuracy",
        "average_incremental_accuracy",
        "pooled_incremental_accuracy",
        "learning_accuracy",
        "gap_closed",
    ),
    "What was kept and lost": (
        "forgetting",
        "backward_transfer",
        "isolated_forgetting",
        "intransigence",
        "rl_forgetting",
    ),
    "Transfer": (
        "forward_transfer",
        "zero_shot_transfer",
        "multi_task_gain",
        "safeness",
        "rl_forward_transfer",
    ),
    "During training": (
        "anytime_average_accuracy",
        "min_accuracy",
        "worst_case_accuracy",
        "windowed_forgetting",
        "windowed_plasticity",
    ),
    "Efficiency": ("model_size_efficiency", "compute_efficiency"),
}


class Cell(NamedTuple):
    """One entry of a table: what it says, whether it is the best, a mark for its colour, what it explains."""

    text: str
    best: bool = False
    mark: str = ""
    hint: str = ""


class Table(NamedTuple):
    """A titled table: names of the columns, and rows of a name and its cells."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def summaries(results: Results, table: pd.DataFrame) -> Iterator[Table]:
    """Give a table per group of metrics: a row per strategy, "mean [low, high]", a clear best in bold."""
    rivals = [name for name in results.strategies if not bound(results, name)]
    for title, group in GROUPS.items():
        found = [name for name in group if name in set(table["metric"])]
        if not found:
            continue
        columns = [_column(table[table["metric"] == name], name, rivals) for name in found]
        rows = [
            (_marked(results, strategy), [column.get(strategy, Cell("–")) for column in columns])
            for strategy in results.strategies
            if any(strategy in column for column in columns) or remark(results, strategy)
        ]
        arrows = [
            f"{METRICS[name].label}\N{NO-BREAK SPACE}{'↑' if METRICS[name].higher_is_better else '↓'}"
            for name in found
        ]
        yield Table(title, arrows, rows)


def bound(results: Results, strategy: str) -> bool:
    """Whether a strategy shows what can be reached with the data of all tasks, and so does not compete."""
    return one_stage(results, strategy) or kind_of(results, strategy) in BOUNDS


def _marked(results: Results, strategy: str) -> str:
    mark = remark(results, strategy)
    return f"{strategy} ({mark})" if mark else strategy


def _column(part: pd.DataFrame, metric: str, rivals: list[str]) -> dict[str, Cell]:
    """Cells of one metric by strategy."""
    digits = 1 if metric == "multi_task_gain" else 3
    best = _clear_best(part[part["strategy"].isin(rivals)], METRICS[metric].higher_is_better)
    return {
        row.strategy: Cell(_interval(row.mean, row.low, row.high, digits), row.strategy == best)
        for row in part.itertuples()
    }


def _clear_best(part: pd.DataFrame, higher_is_better: bool) -> str | None:
    """Name of the strategy whose interval lies beyond those of all others, if one's does."""
    if len(part) < 2:
        return None
    # Turned so that higher is better. Without an interval (NaN) nothing is clear.
    low, high = ("low", "high") if higher_is_better else ("high", "low")
    sign = 1 if higher_is_better else -1
    first = part.loc[(sign * part["mean"]).idxmax()]
    others = part[part["strategy"] != first["strategy"]]
    return str(first["strategy"]) if (sign * first[low] > sign * others[high]).all() else None


def _interval(mean: float, low: float, high: float, digits: int = 3) -> str:
    if low != low:  # NaN: one seed has no interval
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def pairs(results: Results) -> Iterator[Table]:
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


def pairs_note(results: Results) -> str:
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
            Cell(_interval(float(test.gaps.mean()), test.low, test.high)),
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


def costs(results: Results) -> Table | None:
    """Return what every strategy cost, where that was recorded."""
    if not results.costs:
        return None
    columns = list(dict.fromkeys(key for cost in results.costs.values() for key in cost))
    rows = [
        (name, [Cell(_amount(cost[key])) if key in cost else Cell("–") for key in columns])
        for name, cost in results.costs.items()
    ]
    return Table("Costs", [key.replace("_", " ") for key in columns], rows)


def _amount(value: float) -> str:
    if value != value:
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
