"""Streams of drawn tasks, each of which has rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task

# Numbers that the inputs of a drawn task may have: 1 GB of them.
MOST_NUMBERS = 2**28


class Drawn(NamedTuple):
    """The three parts of a drawn task; classes count from 0."""

    train: Part
    val: Part
    test: Part


def cut(x: Tensor, y: Tensor, sizes: list[int]) -> Drawn:
    """Cut rows in three, one behind the other."""
    return Drawn(*(Part(*both) for both in zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)))


def check_size(rows: int, width: int) -> None:
    """Refuse more rows of so many numbers than memory holds."""
    if rows * width > MOST_NUMBERS:
        raise PerdureError(f"rows times their width must be at most {MOST_NUMBERS:,}; found {rows * width:,}")


def assemble_drawn(
    name: str,
    titles: Sequence[str],
    drawn: Sequence[Drawn],
    objective: Objective,
    reads: int,
    setting: Setting,
    info: dict[str, Any],
) -> Stream:
    """Make a stream of drawn tasks, each with ``reads`` outputs: its own in the task setting, else shared."""
    tasks = []
    for t, (title, parts) in enumerate(zip(titles, drawn, strict=True)):
        first = t * reads if setting == "task" else 0
        shift = first if objective.reads is None else 0
        train, val, test = (replace(part, y=part.y + shift) if shift else part for part in parts)
        tasks.append(Task(title, train, val, test, tuple(range(first, first + reads)), objective))
    outputs = reads * len(tasks) if setting == "task" else reads
    return Stream(name, tuple(tasks), setting, outputs, info={"tasks": list(titles), **info})
