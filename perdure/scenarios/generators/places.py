"""Which outputs the tasks of a stream get, and labels to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import MOST_OUTPUTS, Setting
from perdure.scenarios.values import class_count

Pair: TypeAlias = tuple[Part, Part]


@dataclass(frozen=True)
class Places:
    """Where the tasks' outputs are: their parts with labels to match, each task's outputs, and how many."""

    parts: list[Pair]
    own: list[tuple[int, ...]]
    outputs: int
    notes: tuple[str, ...] = ()


def place(read: list[Pair], objectives: Sequence[Objective], setting: Setting, outputs: int | None) -> Places:
    """Give every task its outputs: first those of the classes, behind them those of all others."""
    classes = [i for i, one in enumerate(objectives) if one.reads is None]
    if setting == "class" and len(classes) < len(objectives):
        other = next(one for one in objectives if one.reads is not None)
        raise PerdureError(
            f"a regression has no classes that could compete: `setting` must be task, domain or joint; found "
            f"{setting!r} with {other}"
        )
    parts = list(read)
    own: list[tuple[int, ...]] = [()] * len(read)
    notes: tuple[str, ...] = ()
    width = 0
    if classes:
        given = outputs if len(classes) == len(read) else None
        found = _place_classes([read[i] for i in classes], setting, given)
        width, notes = found.outputs, found.notes
        for i, pair, places in zip(classes, found.parts, found.own, strict=True):
            parts[i], own[i] = pair, places
    blocks: dict[object, tuple[int, ...]] = {}
    for i, objective in enumerate(objectives):
        if objective.reads is None:
            continue
        key = i if setting == "task" else _kind(objective)
        if key not in blocks:
            blocks[key] = tuple(range(width, width + objective.reads))
            width += objective.reads
        own[i] = blocks[key]
    if blocks and outputs not in (None, width):
        raise PerdureError(f"`outputs` must be {width}, what the objectives read; found {outputs}")
    return Places(parts, own, width, notes)


def _kind(objective: Objective) -> object:
    """Return what tasks must have alike to share outputs: the score may differ."""
    if isinstance(objective, Targets):
        return tuple(type(one) for one in objective.each), objective.outputs
    return type(objective)


def _place_classes(read: list[Pair], setting: Setting, outputs: int | None) -> Places:
    notes: tuple[str, ...] = ()
    if setting == "task" and _count_alike(read):
        read, needed = _apart(read)
        if outputs is not None and check_whole("`outputs`", outputs) < needed:
            raise PerdureError(
                f"`outputs` must be at least {needed}: each task has outputs of its own; found {outputs}"
            )
        notes = (
            "the labels of every task count from the same number: each task has outputs of its own (in the "
            "class and domain settings tasks can share them)",
        )
    if outputs is None:
        width = max(class_count("tasks", [part.y for pair in read for part in pair]), 1)
    else:
        width = check_whole("`outputs`", outputs, most=MOST_OUTPUTS)
    return Places(read, [_classes(setting, width, *pair) for pair in read], width, notes)


def _lowest(pair: Pair) -> int:
    return min(int(part.y.min()) for part in pair if len(part))


def _count_alike(read: list[Pair]) -> bool:
    """Return whether the labels of several tasks count from the same number, each its own classes."""
    lowest = {_lowest(pair) for pair in read}
    return len(read) > 1 and len(lowest) == 1 and min(lowest) >= 0


def _apart(read: list[Pair]) -> tuple[list[Pair], int]:
    """Give each task labels of its own, those of one after those of the other; return how many there are."""
    moved, first = [], 0
    for pair in read:
        class_count("tasks", [part.y for part in pair])
        shift = first - _lowest(pair)
        train, test = (replace(part, y=part.y + shift) for part in pair)
        moved.append((train, test))
        first = max(int(part.y.max()) for part in (train, test) if len(part)) + 1
    return moved, first


def _classes(setting: Setting, width: int, train: Part, test: Part) -> tuple[int, ...]:
    labels = torch.cat([train.y, test.y])
    if setting == "domain":
        # Labels beyond the width are refused where all are: there may be room for no list up to them.
        return tuple(range(min(int(labels.max()) + 1, width)))
    return tuple(sorted(set(labels.tolist())))
