"""The tables of the report, as text: groups of metrics, paired comparisons, costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from perdure.analysis import anchors, efficiency
from perdure.analysis.diverged import remark
from perdure.analysis.metrics.labels import label
from perdure.analysis.metrics.needs import prefers_higher, rivals
from perdure.analysis.tables import cell, marked_cell
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

GROUPS: dict[str, tuple[str, ...]] = {
    "Summary": (
        "average_accuracy",
        "average_performance",
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
    "Efficiency": ("steps_to_threshold", "model_size_efficiency", "compute_efficiency"),
}

MANY = 20  # the most tasks that get a column each


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


def summaries(results: Record, table: pd.DataFrame) -> Iterator[Table]:
    """Give a table per group of metrics: a row per strategy, "mean [low, high]", bold if clearly best."""
    fields = rivals(results)
    for group, members in GROUPS.items():
        found = [name for name in members if name in set(table["metric"])]
        if not found:
            continue
        columns = [
            _column(table[table["metric"] == name], name, fields, prefers_higher(results, name))
            for name in found
        ]
        rows = [
            (_marked(results, strategy), [column.get(strategy, Cell("–")) for column in columns])
            for strategy in results.strategies
            if any(strategy in column for column in columns) or remark(results, strategy)
        ]
        arrows = [
            f"{label(results, name)}\N{NO-BREAK SPACE}{'↑' if prefers_higher(results, name) else '↓'}"
            for name in found
        ]
        yield Table(group, arrows, rows)


def between(results: Record) -> Table | None:
    """Return where strategies stand between the anchors, a column per pair of these, where some were run."""
    pairs = anchors.pairs(results)
    if not pairs or all(anchors.is_anchor(results, name) for name in results.strategies):
        return None
    table = anchors.table(results)
    cells = {
        (row.strategy, one, two): Cell(cell(row.mean, row.low, row.high, len(results.seeds) - row.seeds))
        for one, two in pairs
        for row in table[(table["from"] == one) & (table["to"] == two)].itertuples()
    }
    rows = [(_marked(results, n), [cells[n, *pair] for pair in pairs]) for n in results.strategies]
    return Table("Between the anchors", [f"{one} = 0, {two} = 1" for one, two in pairs], rows)


def thresholds(results: Record) -> Table | None:
    """Return the steps that each task took to its threshold, where that is known; a column per task."""
    try:
        found = efficiency.table(results)
    except PerdureError:  # no curve, or no threshold
        return None
    if found.empty or len(results.tasks) > MANY:
        return None
    cells: dict[str, list[Cell]] = {name: [] for name in found["strategy"].unique()}
    for row in found.itertuples():
        lost, never = len(results.seeds) - row.seeds, row.seeds - row.reached
        text = cell(row.mean, row.low, row.high, lost, 0, never)
        told = f" ({row.reached} of {row.seeds} seeds)" if never else ""
        cells[row.strategy].append(Cell(text + told))
    limits = found.drop_duplicates("task")
    columns = [
        f"{name} (from {limit:g} on)"
        for name, limit in zip(limits["task_name"], limits["threshold"], strict=True)
    ]
    rows = [(_marked(results, name), row) for name, row in cells.items()]
    return Table(f"{found.attrs['unit'].capitalize()} to threshold", columns, rows)


def _marked(results: Record, strategy: str) -> str:
    mark = remark(results, strategy)
    return f"{strategy} ({mark})" if mark else strategy


def _column(part: pd.DataFrame, metric: str, fields: Sequence[list[str]], higher: bool) -> dict[str, Cell]:
    """Cells of one metric by strategy, the best of each field in bold."""
    best = [_clear_best(part[part["strategy"].isin(names)], higher) for names in fields]
    return {row.strategy: Cell(marked_cell(row), row.strategy in best) for row in part.itertuples()}


def _clear_best(part: pd.DataFrame, higher_is_better: bool) -> str | None:
    """Name of the strategy whose interval lies beyond those of all others, if one's does."""
    part = part.dropna(subset="mean")
    if len(part) < 2:
        return None
    # Turned so that higher is better. Without an interval (NaN) nothing is clear.
    low, high = ("low", "high") if higher_is_better else ("high", "low")
    sign = 1 if higher_is_better else -1
    first = part.loc[(sign * part["mean"]).idxmax()]
    others = part[part["strategy"] != first["strategy"]]
    return str(first["strategy"]) if (sign * first[low] > sign * others[high]).all() else None


def costs(results: Record) -> Table | None:
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
