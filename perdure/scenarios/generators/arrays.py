"""A stream of one's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import MOST_OUTPUTS, Setting, Stream, check_setting
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.labels import gather
from perdure.scenarios.source import TEST_SHARE
from perdure.scenarios.strata import holdout
from perdure.scenarios.values import (
    Column,
    as_inputs,
    check_range,
    check_samples,
    class_count,
    read_columns,
)


@checked
def from_arrays(
    tasks: Sequence[Any],
    setting: Setting = "domain",
    *,
    objective: Objective | str | Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    val: float = 0.1,
    outputs: int | None = None,
    online: bool = False,
    seed: int = 0,
    name: str = "arrays",
) -> Stream:
    """Make a stream of one's own arrays or tensors.

    Parameters
    ----------
    tasks:
        For each task ``((x, y), (x_test, y_test))``, or ``(x, y)``, of which 20 % become the test part.
        ``x`` is ``[n, ...]`` and becomes float32. ``y`` is ``[n]``, or ``[n, targets]`` (a data frame, too)
        with NaN where a label is missing. Names and whole numbers are classes, names in sorted order; real
        numbers are targets of a regression, unless they are all whole, none negative, and at most 20
        different ones: those are classes, and a note says so.
    setting:
        ``"domain"``: the labels of every task are 0..k-1 and share the outputs. ``"class"``, ``"task"`` and
        ``"joint"``: labels are the numbers of the classes in the whole stream. Where the labels of all tasks
        of the ``"task"`` setting count from the same number, each task gets outputs of its own, and a note
        says so. Regressions, and tasks of several targets, have outputs behind those of the classes: each
        its own in ``"task"``, shared by all of a kind in ``"domain"`` and ``"joint"``.
    objective:
        What tasks ask for, where the labels do not say it: an :class:`Objective`, or a name such as
        ``"classification"``, ``"regression"``, ``"classification(f1)"``, ``"regression(r2)"``. One for all
        tasks; a list of one for each task; where samples have several labels, a list of one for each target,
        or of such a list for each task. ``None`` in a list is for the labels to say.
    names:
        Names of the tasks; default ``"task 1"``, ``"task 2"``, ...
    val:
        Share of the training samples that becomes the validation part.
    outputs:
        Width of the model's output; default: as many as the labels need.
    online:
        True when the samples may be passed over only once.
    seed:
        Decides the validation samples and the order of the training samples.
    name:
        What results call the stream.

    Raises
    ------
    PerdureError
        When arrays do not match, hold NaN or infinite values, or labels that have no output or do not fit
        the objective.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.eye(20), np.arange(20) % 2
    >>> stream = from_arrays([((x, y), (x + 1, y)), ((-x, y), (1 - x, y))])
    >>> len(stream), stream.outputs, stream.input_shape
    (2, 2, (20,))
    >>> both = from_arrays([(x, y), (x, x[:, 0] / 3)], "task", objective=[None, "regression(r2)"])
    >>> [task.objective for task in both], [task.outputs for task in both]
    ([Classification(), Regression('r2')], [(0, 1), (2,)])
    """
    check_setting(setting)
    check_number("`val`", val, high=1, ends="()")
    titles = _titles(tasks, names)
    raw = [_read(title, pair) for title, pair in zip(titles, tasks, strict=True)]
    where, columns = ([[getattr(one, f) for one in task] for task in raw] for f in ("where", "columns"))
    labels, objectives, notes = gather(where, columns, objective)
    read = [
        _set_aside([Part(one.x, y) for one, y in zip(*pair, strict=True)], seed, index)
        for index, pair in enumerate(zip(raw, labels, strict=True))
    ]
    places = _place(read, objectives, setting, outputs)
    made = []
    for index, (title, (train, test)) in enumerate(zip(titles, places.parts, strict=True)):
        for which, part in (("training", train), ("test", test)):
            _check_part(f"task {title!r}, {which} part", part, read[0][0], objectives[index], places.outputs)
        rest, held = holdout(_strata(train.y), val, Draws(seed, "validation", index))
        if not len(held):
            raise PerdureError(
                f"task {title!r} must have 2 samples of a class or more; found {len(train)} in all"
            )
        parts = train.take(rest), train.take(held), test
        for which, part in zip(("training", "validation", "test"), parts, strict=True):
            _check_targets(f"task {title!r}, {which} part", part.y)
        made.append(Task(title, *parts, places.own[index], objectives[index]))
    notes = [*places.notes, *notes]
    return Stream(str(name), tuple(made), setting, places.outputs, online, tuple(notes))


def _titles(tasks: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    if not isinstance(tasks, (list, tuple)) or not tasks:
        raise PerdureError("expected a list of at least one ((x, y), (x_test, y_test)) or (x, y)")
    titles = [f"task {i + 1}" for i in range(len(tasks))] if names is None else list(names)
    if len(titles) != len(tasks) or len(set(titles)) < len(titles):
        raise PerdureError(
            f"`names` must be {len(tasks)} different names, one for each task; found {names!r}"
        )
    return titles


@dataclass(frozen=True)
class Raw:
    """A part as it was given: what errors call it, inputs, and columns of labels."""

    where: str
    x: Tensor
    columns: list[Column]


def _read(title: str, pair: Any) -> list[Raw]:
    """Read the training and test part of one task, or the one that has to be cut."""
    where = f"task {title!r}"
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise PerdureError(f"{where}: expected ((x, y), (x_test, y_test)) or (x, y)")
    if not isinstance(pair[0], (list, tuple)):
        return [_raw(where, pair)]
    return [_raw(f"{where}, training part", pair[0]), _raw(f"{where}, test part", pair[1])]


def _raw(where: str, pair: Any) -> Raw:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise PerdureError(f"{where}: expected (x, y); found {type(pair).__name__}")
    x, columns = as_inputs(where, pair[0]), read_columns(where, pair[1])
    # Before samples are set aside and shuffled: what is wrong is then in the row that the user knows.
    check_samples(where, x, torch.zeros(len(columns[0]), dtype=torch.int64), 1)
    return Raw(where, x, columns)


def _set_aside(parts: list[Part], seed: int, index: int) -> tuple[Part, Part]:
    """Return the training and the test part; of a single part, 20 % become the latter."""
    if len(parts) == 2:
        return parts[0], parts[1]
    rest, held = holdout(_strata(parts[0].y), TEST_SHARE, Draws(seed, "test part", index))
    return parts[0].take(rest), parts[0].take(held.sort().values)


def _strata(y: Tensor) -> Tensor:
    return torch.zeros(len(y), dtype=torch.int64) if y.is_floating_point() else y


def _check_part(where: str, part: Part, first: Part, objective: Objective, outputs: int) -> None:
    if not len(part):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    if part.x.shape[1:] != first.x.shape[1:]:
        expected, found = list(first.x.shape[1:]), list(part.x.shape[1:])
        raise PerdureError(f"{where}: expected inputs of the first task's shape {expected}; found {found}")
    if objective.reads is None:
        check_range(where, "labels", part.y, outputs)


def _check_targets(where: str, y: Tensor) -> None:
    """Refuse a part that has no label at all of some target."""
    if y.ndim == 2 and bool(y.isnan().all(0).any()):
        target = int(y.isnan().all(0).nonzero()[0])
        raise PerdureError(f"{where}: target {target} must have a label; all {len(y)} are missing")


# ---- outputs ------------------------------------------------------------------------------------------

Pair: TypeAlias = tuple[Part, Part]


@dataclass(frozen=True)
class Places:
    """Where the tasks' outputs are: their parts with labels to match, each task's outputs, and how many."""

    parts: list[Pair]
    own: list[tuple[int, ...]]
    outputs: int
    notes: tuple[str, ...] = ()


def _place(
    read: list[Pair], objectives: Sequence[Objective], setting: Setting, outputs: int | None
) -> Places:
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
    return Places(read, [_classes(setting, *pair) for pair in read], width, notes)


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


def _classes(setting: Setting, train: Part, test: Part) -> tuple[int, ...]:
    labels = torch.cat([train.y, test.y])
    if setting == "domain":
        return tuple(range(int(labels.max()) + 1))
    return tuple(sorted(set(labels.tolist())))
