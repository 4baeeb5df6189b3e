"""A stream of one's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.checks import check_number, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream, check_setting
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.generators.places import Pair, place
from perdure.scenarios.labels import gather
from perdure.scenarios.source import TEST_SHARE
from perdure.scenarios.strata import holdout
from perdure.scenarios.values import (
    Column,
    as_inputs,
    as_tensor,
    check_range,
    check_samples,
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
    titles = titles_of(tasks, names)
    raw = [_read(title, pair) for title, pair in zip(titles, tasks, strict=True)]
    where, columns = ([[getattr(one, f) for one in task] for task in raw] for f in ("where", "columns"))
    labels, objectives, notes = gather(where, columns, objective)
    read = [
        _set_aside([Part(one.x, y) for one, y in zip(*pair, strict=True)], seed, index)
        for index, pair in enumerate(zip(raw, labels, strict=True))
    ]
    return assemble(titles, read, objectives, setting, val, outputs, online, seed, name, notes)


def assemble(
    titles: Sequence[str],
    read: list[Pair],
    objectives: Sequence[Objective],
    setting: Setting,
    val: float,
    outputs: int | None,
    online: bool,
    seed: int,
    name: str,
    notes: Sequence[str] = (),
) -> Stream:
    """Make a stream of the training and the test part of each task, as :func:`from_arrays` has it."""
    places = place(read, objectives, setting, outputs)
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


def titles_of(
    tasks: Sequence[Any], names: Sequence[str] | None, expected: str = "((x, y), (x_test, y_test)) or (x, y)"
) -> list[str]:
    """Return a name for each task."""
    if not isinstance(tasks, (list, tuple)) or not tasks:
        raise PerdureError(f"expected a list of at least one {expected}")
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
    return (parts[0], parts[1]) if len(parts) == 2 else cut_test(parts[0], seed, index)


def cut_test(whole: Part, seed: int, index: int) -> Pair:
    """Set a share of the samples aside as the test part."""
    rest, held = holdout(_strata(whole.y), TEST_SHARE, Draws(seed, "test part", index))
    return whole.take(rest), whole.take(held.sort().values)


def labels_of(where: str, values: Any) -> Tensor:
    """Return labels ``[n]``: whole numbers as int64, real ones as float32."""
    y = as_tensor(f"{where}, labels", values)
    if y.ndim != 1:
        raise PerdureError(f"{where}: labels must be [n]; found {list(y.shape)}")
    return y.to(torch.float32 if y.is_floating_point() else torch.int64)


def _strata(y: Tensor) -> Tensor:
    return torch.zeros(len(y), dtype=torch.int64) if y.is_floating_point() else y


def _check_part(where: str, part: Part, first: Part, objective: Objective, outputs: int) -> None:
    if not len(part):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    expected, found = (list(one.example()["x"].shape[1:]) for one in (first, part))
    if expected != found:
        raise PerdureError(f"{where}: expected inputs of the first task's shape {expected}; found {found}")
    if objective.reads is None:
        check_range(where, "labels", part.y, outputs)


def _check_targets(where: str, y: Tensor) -> None:
    """Refuse a part that has no label at all of some target."""
    if y.ndim == 2 and bool(y.isnan().all(0).any()):
        target = int(y.isnan().all(0).nonzero()[0])
        raise PerdureError(f"{where}: target {target} must have a label; all {len(y)} are missing")
