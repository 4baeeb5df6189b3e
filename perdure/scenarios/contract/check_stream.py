"""The contract that every stream keeps, for users to run on their own."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.disjoint import check_disjoint, contents
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.objective import Classification, Objective, Regression, same
from perdure.scenarios.contract.part import Part, in_bytes
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream, check_is_stream, check_setting
from perdure.scenarios.contract.task import Task
from perdure.scenarios.contract.world import World
from perdure.scenarios.values import check_finite, check_range


def check_stream(stream: Stream, *, duplicates: float = 0.1) -> None:
    """Refuse a stream that does not keep the contract of streams, at the first defect.

    Checked are: names that differ; parts that are not empty, of one input shape and one floating dtype,
    finite; labels that are the outputs of the task (of a classification) or finite numbers (of a
    regression), of one kind for all tasks of one objective; disjoint parts; masks that fit the setting; the
    tasks that mixed samples come from; that reading twice gives the same.

    Samples have no identity but their content, and real tables hold rows that occur twice. Parts count as
    overlapping when the share of a part's samples that another part holds too, input and label, exceeds the
    share that occurs more than once within a part by more than ``duplicates`` and two standard errors.

    Of parts that are fetched, a few samples are read: they are disjoint when no item of a dataset is in two.

    Parameters
    ----------
    stream:
        What to check.
    duplicates:
        Share of samples beyond that of natural repetitions, in [0, 1], that parts may have in common.

    Raises
    ------
    PerdureError
        With one line that says what was expected, where, and what was found.
    """
    check_is_stream(stream)
    check_number("`duplicates`", duplicates, high=1, ends="[]")
    check_setting(stream.setting)
    twice = sorted({name for name in stream.names if stream.names.count(name) > 1})
    if twice:
        raise PerdureError(f"stream {stream.name!r}: names of tasks must differ; {twice[0]!r} is there twice")
    # Kinds and shapes first: everything else needs to read an input of the first task.
    for task in stream:
        _check_kinds(stream, task)
    _check_outputs(stream)
    for task in stream:
        for which, part in _parts(task):
            _check_shapes(stream, f"task {task.name!r}, {which} part", part)
    for index, task in enumerate(stream):
        _check_task(stream, index, task, duplicates)
    _check_masks(stream)
    if stream.fingerprint() != stream.fingerprint():
        raise PerdureError(f"stream {stream.name!r} must yield the same each time it is read; it does not")


def _parts(task: Task) -> list[tuple[str, Part]]:
    """Return the parts that are tables of samples, and what errors call them."""
    named = [("training", task.train), ("validation", task.val), ("test", task.test)]
    return [(which, part) for which, part in named if not isinstance(part, World)]


def _check_kinds(stream: Stream, task: Task) -> None:
    """Refuse a task that is not made of what tasks are made of, or asks for something else than the first."""
    where, first = f"task {task.name!r}", stream[0].objective
    for which, part in _parts(task):
        tensors = isinstance(part, Part) and isinstance(part.x, Tensor) and isinstance(part.y, Tensor)
        if not tensors or not isinstance(part.task, Tensor | None):
            raise PerdureError(f"{where}: the {which} part must be a Part of tensors; found something else")
    if not isinstance(task.objective, Objective):
        raise PerdureError(f"{where}: expected an Objective; found {type(task.objective).__name__}")
    if task.objective.targets != first.targets:
        raise PerdureError(
            f"{where}: all tasks must have as many labels for each sample as the first, {first.targets}; "
            f"found {task.objective.targets}"
        )
    if not isinstance(task.outputs, (tuple, list)) or not all(type(c) is int for c in task.outputs):
        raise PerdureError(f"{where}: `outputs` must be whole numbers; found {task.outputs!r}")


def _check_outputs(stream: Stream) -> None:
    """Refuse tasks with another number of outputs than their objective reads or tells apart."""
    for task in stream:
        objective, reads = task.objective, task.objective.reads
        if isinstance(objective, Classification) and stream.outputs < 2:
            raise PerdureError(
                f"stream {stream.name!r}: a classification needs two classes; found {stream.outputs}"
            )
        if (
            isinstance(objective, Classification)
            and objective.by == "auroc"
            and _competing(stream, task) != 2
        ):
            raise PerdureError(
                f"task {task.name!r}: AUROC is of two classes that compete; found {_competing(stream, task)}"
            )
        own = sorted(task.outputs)
        if reads is not None and own and own != list(range(own[0], own[0] + reads)):
            raise PerdureError(
                f"task {task.name!r}: {_title(objective)} reads {reads} outputs, one behind the other; "
                f"found {task.outputs}"
            )


def _competing(stream: Stream, task: Task) -> int:
    """Return how many outputs compete on the samples of a task of classes."""
    if stream.setting == "task":
        return len(task.outputs)
    return len({c for other in stream if other.objective.reads is None for c in other.outputs})


def _title(objective: Objective) -> str:
    return f"{objective} ({objective.metric})"


def _check_shapes(stream: Stream, where: str, part: Part) -> None:
    shape = (len(part.x), *part.shape) if isinstance(part, Fetched) else tuple(part.x.shape)
    dtype = part.dtype if isinstance(part, Fetched) else part.x.dtype
    if part.scale is not None and dtype != torch.uint8:
        raise PerdureError(
            f"{where}: what has a `scale` must be bytes (uint8); found {dtype}: give numbers with "
            "`part.with_inputs(x)`"
        )
    if part.y.ndim not in (1, 2) or len(shape) < 2 or len(part.x) != len(part.y):
        raise PerdureError(
            f"{where}: expected inputs [n, ...] and labels [n] or [n, targets]; found {list(shape)} "
            f"and {list(part.y.shape)}"
        )
    if not len(part):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    x, first = _first_input(where, part), stream.example()["x"]
    if not x.is_floating_point() and x.dtype != torch.int64:
        raise PerdureError(f"{where}: inputs must be floating point, or token ids (int64); found {x.dtype}")
    if x.shape != first.shape or x.dtype != first.dtype:
        raise PerdureError(
            f"{where}: inputs must be {list(first.shape[1:])} {first.dtype} like the first task's; found "
            f"{list(x.shape[1:])} {x.dtype}"
        )


def _first_input(where: str, part: Part) -> Tensor:
    try:
        x = part.take(torch.arange(1)).inputs()
    except PerdureError:
        raise
    except Exception as error:  # a transform is the user's own code
        raise PerdureError(f"{where}: cannot read the inputs: {error or type(error).__name__}") from error
    if not isinstance(x, Tensor) or len(x) != 1:
        raise PerdureError(f"{where}: reading one sample must give a tensor [1, ...]; found something else")
    return x


def _check_task(stream: Stream, index: int, task: Task, duplicates: float) -> None:
    where = f"task {task.name!r}"
    if not task.outputs or len(set(task.outputs)) < len(task.outputs):
        raise PerdureError(f"{where}: `outputs` must be different outputs; found {task.outputs}")
    check_range(where, "`outputs`", torch.tensor(task.outputs), stream.outputs)
    found: dict[str, list[bytes]] = {}
    parts = _parts(task)
    for which, part in parts:
        _check_labels_of(stream, index, f"{where}, {which} part", part)
    _check_items(where, parts)
    parts = [(which, part) for which, part in parts if not isinstance(part, Fetched)]
    # Bytes tell samples apart as well as the numbers that they mean do, and are finite.
    kept = in_bytes([part for _, part in parts])
    for i, (which, part) in enumerate(parts):
        place, x = f"{where}, {which} part", part.inputs() if kept is None else kept[i]
        check_finite(place, "inputs", x)
        found[which] = contents(x, part.y)
    if len(found) == 3:
        check_disjoint(where, found, duplicates)


def _check_labels_of(stream: Stream, index: int, place: str, part: Part) -> None:
    """Refuse labels, and the tasks that samples come from, which the stream does not have."""
    if part.task is not None:
        if part.task.shape != part.y.shape[:1] or part.task.dtype != torch.int64:
            raise PerdureError(f"{place}: `task` must be [{len(part)}] int64; found {_kind(part.task)}")
        check_range(place, "`task`", part.task, len(stream))
    _check_labels(stream, index, place, part)


def _check_items(where: str, parts: list[tuple[str, Part]]) -> None:
    """Refuse items of one dataset that are in two parts of a task."""
    fetched = [(which, part) for which, part in parts if isinstance(part, Fetched)]
    for (which, part), (other, before) in combinations(reversed(fetched), 2):
        shared = int(torch.isin(part.x, before.x).sum()) if part.items is before.items else 0
        if shared:
            raise PerdureError(
                f"{where}: the {which} part must be disjoint from the {other} part; {shared} of {len(part)} "
                "items are in both"
            )


def _kind(values: Tensor) -> str:
    return f"{list(values.shape)} {values.dtype}".replace("torch.", "")


def _check_labels(stream: Stream, index: int, place: str, part: Part) -> None:
    """Refuse labels that the objective of the task which each sample comes from cannot use."""
    objective = stream[index].objective
    shape = (len(part),) if objective.targets == 1 else (len(part), objective.targets)
    if tuple(part.y.shape) != shape:
        raise PerdureError(f"{place}: labels must be {list(shape)}; found {list(part.y.shape)}")
    if isinstance(objective, Regression):
        if not part.y.is_floating_point():
            raise PerdureError(f"{place}: targets must be floating point; found {part.y.dtype}")
        # What is learned from may lack labels; what is scored may not.
        missing = (
            part.y.isnan() if part is stream[index].train else torch.zeros_like(part.y, dtype=torch.bool)
        )
        if len(part) and bool(missing.all()):
            raise PerdureError(f"{place}: expected a target at least; all {len(part)} are missing")
        check_finite(place, "targets", part.y.masked_fill(missing, 0))
    elif isinstance(objective, Classification):
        if part.y.dtype != torch.int64:
            raise PerdureError(f"{place}: labels must be int64; found {part.y.dtype}")
        check_range(place, "labels", part.y, stream.outputs)
        allowed = torch.zeros(len(stream), stream.outputs, dtype=torch.bool)
        for row, task in zip(allowed, stream, strict=True):
            row[list(task.outputs)] = True
        origin = part.task if part.task is not None else torch.full_like(part.y, index)
        bad = part.y[~allowed[origin, part.y]]
        if len(bad):
            raise PerdureError(
                f"{place}: labels must be among the task's `outputs`; {len(bad)} of {len(part)} are not, "
                f"such as {int(bad[0])}"
            )
    elif isinstance(objective, Targets):
        _check_targets(place, objective, part.y)
    expected = next(
        (t.train.y.dtype for t in stream if isinstance(t.train, Part) and same(t.objective, objective)),
        part.y.dtype,
    )
    if part.y.dtype != expected:
        raise PerdureError(f"{place}: labels must be {expected} like the first task's; found {part.y.dtype}")


def _check_targets(place: str, objective: Targets, y: Tensor) -> None:
    """Refuse labels that the objective of their column cannot use; NaN is a label that is missing."""
    for j, (one, outputs) in enumerate(zip(objective.each, objective.outputs, strict=True)):
        column = y[:, j][~y[:, j].isnan()] if y.is_floating_point() else y[:, j]
        if not len(column):
            raise PerdureError(f"{place}: target {j} must have a label; all are missing")
        check_finite(place, f"target {j}", column)
        if not one.real:
            if bool((column != column.round()).any()):
                raise PerdureError(f"{place}: target {j} must be whole numbers; found others")
            check_range(place, f"target {j}", column.long(), outputs)


def _check_masks(stream: Stream) -> None:
    masks = stream.masks()
    if masks.shape != (len(stream), stream.outputs) or masks.dtype != torch.bool:
        raise PerdureError(
            f"stream {stream.name!r}: masks must be [{len(stream)}, {stream.outputs}] bool; "
            f"found {_kind(masks)}"
        )
    for mask, task in zip(masks, stream, strict=True):
        allowed = torch.nonzero(mask).flatten().tolist()
        among = task.outputs if stream.setting == "task" else range(stream.outputs)
        expected = sorted({*among} - {*task.closed})
        if allowed != expected:
            raise PerdureError(
                f"task {task.name!r}: in the {stream.setting} setting the mask must allow the outputs "
                f"{expected}; found {allowed}"
            )
