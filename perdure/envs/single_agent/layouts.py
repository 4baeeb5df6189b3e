"""Grids of floor and wall: layouts by name, where a move leads, and from where a goal can be reached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from perdure.core.errors import PerdureError, shown, unknown

Cell = tuple[int, int]
WALL, FLOOR = "#", "."

# All of the same size, so that tasks may differ by their walls.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "open": (
        "#########",
        "#.......#",
        "#.......#",
        "#.......#",
        "#.......#",
        "#.......#",
        "#.......#",
        "#.......#",
        "#########",
    ),
    "two-rooms": (
        "#########",
        "#...#...#",
        "#...#...#",
        "#...#...#",
        "#.......#",
        "#...#...#",
        "#...#...#",
        "#...#...#",
        "#########",
    ),
    "four-rooms": (
        "#########",
        "#...#...#",
        "#.......#",
        "#...#...#",
        "##.###.##",
        "#...#...#",
        "#.......#",
        "#...#...#",
        "#########",
    ),
    "maze": (
        "#########",
        "#...#...#",
        "#.#.#.#.#",
        "#.#...#.#",
        "#######.#",
        "#...#...#",
        "#.#.#.#.#",
        "#.#...#.#",
        "#########",
    ),
}
# Up, right, down, left, as a change of row and column; staying is the last one.
MOVES: tuple[Cell, ...] = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))


def rows_of(layout: str | Sequence[str]) -> tuple[str, ...]:
    """Return the rows of a layout, given by name or as they are; refuse what has no closed outer wall."""
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        return LAYOUTS[layout]
    rows = tuple(layout)
    if len(rows) < 3 or not rows[0] or len({*map(len, rows)}) > 1 or not {*"".join(rows)} <= {WALL, FLOOR}:
        raise PerdureError(
            f"layout must be a name, or three rows or more of one length, {WALL!r} for walls and {FLOOR!r} "
            f"for floor; found {shown(layout)}"
        )
    outer = {*rows[0], *rows[-1], *(row[0] for row in rows), *(row[-1] for row in rows)}
    if outer != {WALL}:
        raise PerdureError(f"layout must have a wall all around; found {shown(layout)}")
    return rows


def floor_of(rows: Sequence[str]) -> list[Cell]:
    """Return the cells without a wall, in the order of reading."""
    return [(i, j) for i, row in enumerate(rows) for j, mark in enumerate(row) if mark == FLOOR]


def leads_to(rows: Sequence[str], door: Cell | None, moves: int) -> list[list[list[int]]]:
    """Return where moves lead from each cell, by number, ``[2, cells, moves]``: without and with the key.

    What a wall or a closed door stands in the way of stays where it is.
    """
    width = len(rows[0])
    tables = []
    for closed in ({door}, set[Cell | None]()):
        free = {*floor_of(rows)} - closed
        table = []
        for i, j in ((i, j) for i in range(len(rows)) for j in range(width)):
            ends = [(i + down, j + right) for down, right in MOVES[:moves]]
            table.append([a * width + b if (a, b) in free else i * width + j for a, b in ends])
        tables.append(table)
    return tables


def reaching(tables: list[list[list[int]]], key: int, goal: int) -> set[int]:
    """Return the cells from where moves lead to the goal, begun without the key."""
    before: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for held, table in enumerate(tables):
        for cell, ends in enumerate(table):
            for end in ends:
                before[max(held, int(end == key)), end].append((held, cell))
    found = {(0, goal), (1, goal)}
    open_ones = [*found]
    while open_ones:
        new = {*before[open_ones.pop()]} - found
        found |= new
        open_ones += new
    return {cell for held, cell in found if not held}
