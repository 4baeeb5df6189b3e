"""A stream of one's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.scenarios import arguments
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import MOST_OUTPUTS, Setting, Stream, check_setting
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.source import TEST_SHARE
from perdure.scenarios.strata import holdout
from perdure.scenarios.values import (
    as_inputs,
    as_labels,
    as_tensor,
    check_finite,
    check_range,
    check_samples,
    class_count,
)

# Real targets with no more values than this, all whole, are probably classes.
MOST_CLASSES = 20


@checked
def from_arrays(
    tasks: Sequence[Any],
    setting: Setting = "domain",
    *,
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
        ``x`` is ``[n, ...]`` and becomes float32. ``y`` is ``[n]``: whole numbers are classes, real numbers
        are targets of a regression.
    setting:
        ``"domain"``: the labels of every task are 0..k-1 and share the outputs. ``"class"``, ``"task"`` and
        ``"joint"``: labels are the numbers of the classes in the whole stream. Where the labels of all tasks
        of the ``"task"`` setting count from the same number, each task gets outputs of its own, and a note
        says so. A regression has one output, which all tasks share: ``"domain"`` or ``"joint"``.
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
        When arrays do not match, hold NaN or infinite values, or labels that have no output.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.eye(20), np.arange(20) % 2
    >>> stream = from_arrays([((x, y), (x + 1, y)), ((-x, y), (1 - x, y))])
    >>> len(stream), stream.outputs, stream.input_shape
    (2, 2, (20,))
    """
    check_setting(setting)
    arguments.share("val", val)
    titles = titles_of(tasks, names)
    read = [_read(title, pair, seed, i) for i, (title, pair) in enumerate(zip(titles, tasks, strict=True))]
    return assemble(titles, read, setting, val, outputs, online, seed, name)


def assemble(
    titles: Sequence[str],
    read: list[tuple[Part, Part]],
    setting: Setting,
    val: float,
    outputs: int | None,
    online: bool,
    seed: int,
    name: str,
) -> Stream:
    """Make a stream of the training and the test part of each task, as :func:`from_arrays` has it."""
    notes = []
    if setting == "task" and _count_alike(read):
        read, needed = _apart(read)
        if outputs is not None and arguments.count("outputs", outputs) < needed:
            raise PerdureError(
                f"`outputs` must be at least {needed}: each task has outputs of its own; found {outputs}"
            )
        notes.append(
            "the labels of every task count from the same number: each task has outputs of its own (in the "
            "class and domain settings tasks can share them)"
        )
    objective, width = _outputs(read, setting, outputs)
    if isinstance(objective, Regression) and _whole(read):
        notes.append(
            "the labels are real numbers that are all whole: they are targets of a regression; give whole "
            "numbers (int) where they are classes"
        )
    made = []
    for index, (title, (train, test)) in enumerate(zip(titles, read, strict=True)):
        for which, part in (("training", train), ("test", test)):
            where = f"task {title!r}, {which} part"
            if not len(part):
                raise PerdureError(f"{where}: expected at least one sample; found none")
            expected, found = list(read[0][0].example()["x"].shape[1:]), list(part.example()["x"].shape[1:])
            if expected != found:
                raise PerdureError(
                    f"{where}: expected inputs of the first task's shape {expected}; found {found}"
                )
            if isinstance(objective, Classification):
                check_range(where, "labels", part.y, width)
        rest, held = holdout(_strata(train.y), val, Draws(seed, "validation", index))
        if not len(held):
            raise PerdureError(
                f"task {title!r} must have 2 samples of a class or more; found {len(train)} in all"
            )
        made.append(
            Task(title, train.take(rest), train.take(held), test, _classes(setting, train, test), objective)
        )
    return Stream(str(name), tuple(made), setting, width, arguments.flag("online", online), tuple(notes))


def titles_of(
    tasks: Sequence[Any], names: Sequence[str] | None, expected: str = "((x, y), (x_test, y_test)) or (x, y)"
) -> list[str]:
    """Return a name for each task."""
    if not isinstance(tasks, (list, tuple)) or not tasks:
        raise PerdureError(f"expected a list of at least one {expected}")
    titles = (
        [f"task {i + 1}" for i in range(len(tasks))] if names is None else arguments.texts("names", names)
    )
    if len(titles) != len(tasks) or len(set(titles)) < len(titles):
        raise PerdureError(
            f"`names` must be {len(tasks)} different names, one for each task; found {names!r}"
        )
    return titles


def _read(title: str, pair: Any, seed: int, index: int) -> tuple[Part, Part]:
    """Read the training and test part of one task."""
    where = f"task {title!r}"
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise PerdureError(f"{where}: expected ((x, y), (x_test, y_test)) or (x, y)")
    if not isinstance(pair[0], (list, tuple)):
        return cut_test(_part(where, pair), seed, index)
    return _part(f"{where}, training part", pair[0]), _part(f"{where}, test part", pair[1])


def cut_test(whole: Part, seed: int, index: int) -> tuple[Part, Part]:
    """Set a share of the samples aside as the test part."""
    rest, held = holdout(_strata(whole.y), TEST_SHARE, Draws(seed, "test part", index))
    return whole.take(rest), whole.take(held.sort().values)


def _part(where: str, pair: Any) -> Part:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise PerdureError(f"{where}: expected (x, y); found {type(pair).__name__}")
    x, y = as_inputs(where, pair[0]), labels_of(where, pair[1])
    # Before samples are set aside and shuffled: what is wrong is then in the row that the user knows.
    check_samples(where, x, y.long() * 0, 1)
    if y.is_floating_point():
        check_finite(where, "targets", y)
    return Part(x, y)


def labels_of(where: str, values: Any) -> Tensor:
    """Return labels ``[n]``: whole numbers as int64, real ones as float32."""
    y = as_tensor(f"{where}, labels", values)
    return y.to(torch.float32) if y.is_floating_point() and y.ndim == 1 else as_labels(f"{where}, labels", y)


def _strata(y: Tensor) -> Tensor:
    return torch.zeros(len(y), dtype=torch.int64) if y.is_floating_point() else y


def _lowest(pair: tuple[Part, Part]) -> int:
    return min(int(part.y.min()) for part in pair if len(part))


def _count_alike(read: list[tuple[Part, Part]]) -> bool:
    """Return whether the labels of several tasks count from the same number, each its own classes."""
    classes = not any(part.y.is_floating_point() for pair in read for part in pair)
    lowest = {_lowest(pair) for pair in read} if classes else set()
    return len(read) > 1 and len(lowest) == 1 and min(lowest) >= 0


def _apart(read: list[tuple[Part, Part]]) -> tuple[list[tuple[Part, Part]], int]:
    """Give each task labels of its own, those of one after those of the other; return how many there are."""
    moved, first = [], 0
    for pair in read:
        class_count("tasks", [part.y for part in pair])
        shift = first - _lowest(pair)
        train, test = (replace(part, y=part.y + shift) for part in pair)
        moved.append((train, test))
        first = max(int(part.y.max()) for part in (train, test) if len(part)) + 1
    return moved, first


def _whole(read: list[tuple[Part, Part]]) -> bool:
    """Return whether the targets are few whole numbers, as classes are that became real numbers."""
    targets = torch.cat([part.y for pair in read for part in pair])
    values: Tensor = torch.unique(targets)
    return len(values) <= MOST_CLASSES and bool((values == values.round()).all())


def _outputs(read: list[tuple[Part, Part]], setting: Setting, outputs: int | None) -> tuple[Objective, int]:
    """Return what the tasks ask for and how many outputs that takes."""
    ys = [part.y for pair in read for part in pair]
    real = {y.is_floating_point() for y in ys}
    if len(real) == 2:
        raise PerdureError("labels must be whole numbers in all tasks or real numbers in all; found both")
    if real == {True}:
        if setting not in ("domain", "joint"):
            raise PerdureError(
                f"regression tasks share one output: `setting` must be domain or joint; found {setting!r}"
            )
        if outputs not in (None, 1):
            raise PerdureError(f"a regression has one output; found `outputs` = {outputs}")
        return Regression(), 1
    if outputs is not None:
        return Classification(), arguments.count("outputs", outputs, most=MOST_OUTPUTS)
    return Classification(), max(class_count("tasks", ys), 1)


def _classes(setting: Setting, train: Part, test: Part) -> tuple[int, ...]:
    if train.y.is_floating_point():
        return (0,)
    labels = torch.cat([train.y, test.y])
    if setting == "domain":
        return tuple(range(int(labels.max()) + 1))
    return tuple(sorted(set(labels.tolist())))
