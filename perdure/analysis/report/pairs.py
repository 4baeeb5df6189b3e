"""Paired comparisons in the report: a row per pair of a few strategies, a matrix of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.analysis.metrics.labels import label
from perdure.analysis.metrics.needs import prefers_higher
from perdure.analysis.report.tables import Cell, Table
from perdure.analysis.tables import EVERY, cell, pairs

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

FEW = 3  # the most strategies whose pairs get a row each
LEVEL = 0.05
Pairs = dict[tuple[str, str], Any]  # rows of Results.compare by their two strategies


class Compared(NamedTuple):
    """Tables of paired comparisons, and what makes all of them hopeless, if anything does."""

    tables: list[Table]
    note: str | None


def compared(results: Record) -> Compared:
    """Compare all strategies, by average accuracy and by forgetting.

    Up to three strategies: a row per pair. More: a matrix with the difference of row and column.
    """
    found = {}
    if len(results.seeds) > 1:
        for metric in ("average_accuracy", "forgetting"):
            rows = pairs(results, metric, against=EVERY)
            if rows["seeds"].any():
                found[metric] = rows
    tables = [
        _table(label(results, metric), rows, len(results.seeds), prefers_higher(results, metric))
        for metric, rows in found.items()
    ]
    # The first has the most pairs: where they are too many, one word is enough.
    return Compared(tables, next((rows.attrs["note"] for rows in found.values()), None))


def _table(called: str, pairs: pd.DataFrame, seeds: int, higher: bool) -> Table:
    names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    rows = {(row.first, row.second): row for row in pairs.itertuples() if row.seeds}
    return _matrix(called, names, rows, higher) if len(names) > FEW else _rows(called, rows, seeds)


def _rows(called: str, pairs: Pairs, seeds: int) -> Table:
    rows = [
        (
            f"{row.first} − {row.second}",
            [
                Cell(cell(row.difference, row.low, row.high, seeds - row.seeds)),
                Cell(_p(row.p)),
                Cell(_p(row.p_holm), row.p_holm < LEVEL),
                Cell(f"{row.improvement:.2f}"),
            ],
        )
        for row in pairs.values()
    ]
    columns = ["difference [95 % interval]", "p", "p (Holm)", "P(first is better)"]
    return Table(called, columns, rows)


def _p(value: float) -> str:
    return "–" if value != value else f"{value:.3g}"  # NaN: one common seed has no test


def _matrix(called: str, names: list[str], pairs: Pairs, higher: bool) -> Table:
    sign = 1 if higher else -1
    rows = []
    for number, row in enumerate(names, start=1):
        cells = [_versus(row, column, pairs, sign) for column in names]
        marks = [one.mark for one in cells]
        count = Cell(f"{marks.count('better')} / {marks.count('worse')}")
        rows.append((f"{number}\N{NO-BREAK SPACE} {row}", [*cells, count]))
    columns = [*(str(number + 1) for number in range(len(names))), "better / worse"]
    return Table(called, columns, rows)


def _versus(row: str, column: str, pairs: Pairs, sign: int) -> Cell:
    """Difference of row and column: marked where its interval leaves out 0, bold where p is below 0.05."""
    turned = (row, column) not in pairs
    pair = pairs.get((column, row) if turned else (row, column))
    if pair is None:
        return Cell("")
    gap = -pair.difference if turned else pair.difference
    mark = "level"
    if pair.low > 0 or pair.high < 0:
        mark = "better" if sign * gap > 0 else "worse"
    tests = f"p {_p(pair.p)}, corrected {_p(pair.p_holm)}, {pair.seeds} common seeds"
    hint = f"{row} − {column}: {gap:+.3f}, {tests}"
    return Cell(f"{gap:+.2f}".replace("-", "−"), pair.p_holm < LEVEL, mark, hint)
