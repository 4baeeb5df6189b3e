"""The contract that every stream keeps, for users to run on their own."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import torch
from torch import Tensor

from perdure.errors import PerdureError
from perdure.scenarios.stream import Stream, check_setting
from perdure.scenarios.task import Classification, Part, Regression, Task
from perdure.scenarios.values import check_finite, check_range


def check_stream(stream: Stream, *, duplicates: float = 0.1) -> None:
    """Refuse a stream that does not keep the contract of streams, at the first defect.

    Checked are: names that differ; parts that are not empty, of one input shape and one floating dtype,
    finite; labels that are the outputs of the task (of a classification) or one finite number (of a
    regression); disjoint parts; masks that fit the setting; the tasks that mixed samples come from; that
    reading twice gives the same.

    Samples have no identity but their content, and real tables hold rows that occur twice. Parts count as
    overlapping when the share of a part's samples that another part holds too, input and label, exceeds the
    share that occurs more than once within a part by more than ``duplicates`` and two standard errors.

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
    if not isinstance(stream, Stream):
        raise PerdureError(f"expected a Stream; found {type(stream).__name__}")
    check_setting(stream.setting)
    twice = sorted({name for name in stream.names if stream.names.count(name) > 1})
    if twice:
        raise PerdureError(f"stream {stream.name!r}: names of tasks must differ; {twice[0]!r} is there twice")
    # Shapes first: everything else needs to read an input of the first task.
    for task in stream:
        for which, part in _parts(task):
            _check_shapes(stream, f"task {task.name!r}, {which} part", part)
    for index, task in enumerate(stream):
        _check_task(stream, index, task, duplicates)
    _check_masks(stream)
    if stream.fingerprint() != stream.fingerprint():
        raise PerdureError(f"stream {stream.name!r} must yield the same each time it is read; it does not")


def _parts(task: Task) -> list[tuple[str, Part]]:
    return [("training", task.train), ("validation", task.val), ("test", task.test)]


def _check_shapes(stream: Stream, where: str, part: Part) -> None:
    if part.y.ndim != 1 or len(part.x) != len(part.y):
        raise PerdureError(
            f"{where}: expected inputs [n, ...] and labels [n]; found {list(part.x.shape)} and "
            f"{list(part.y.shape)}"
        )
    if not len(part):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    x, first = part.take(torch.arange(1)).inputs(), stream[0].train.take(torch.arange(1)).inputs()
    if not x.is_floating_point() and x.dtype != torch.int64:
        raise PerdureError(f"{where}: inputs must be floating point, or token ids (int64); found {x.dtype}")
    if x.shape != first.shape or x.dtype != first.dtype:
        raise PerdureError(
            f"{where}: inputs must be {list(first.shape[1:])} {first.dtype} like the first task's; found "
            f"{list(x.shape[1:])} {x.dtype}"
        )


def _check_task(stream: Stream, index: int, task: Task, duplicates: float) -> None:
    where = f"task {task.name!r}"
    if not task.classes or len(set(task.classes)) < len(task.classes):
        raise PerdureError(f"{where}: `classes` must be different outputs; found {task.classes}")
    check_range(where, "`classes`", torch.tensor(task.classes), stream.outputs)
    contents: dict[str, list[bytes]] = {}
    for which, part in _parts(task):
        place, x = f"{where}, {which} part", part.inputs()
        check_finite(place, "inputs", x)
        if part.task is not None:
            if part.task.shape != part.y.shape or part.task.dtype != torch.int64:
                raise PerdureError(f"{place}: `task` must be [{len(part)}] int64; found {_kind(part.task)}")
            check_range(place, "`task`", part.task, len(stream))
        _check_labels(stream, index, place, part)
        contents[which] = _contents(x, part.y)
    _check_disjoint(where, contents, duplicates)


def _kind(values: Tensor) -> str:
    return f"{list(values.shape)} {values.dtype}".replace("torch.", "")


def _check_labels(stream: Stream, index: int, place: str, part: Part) -> None:
    """Refuse labels that the objective of the task which each sample comes from cannot use."""
    objective = stream[index].objective
    if isinstance(objective, Regression):
        if not part.y.is_floating_point():
            raise PerdureError(f"{place}: targets must be floating point; found {part.y.dtype}")
        check_finite(place, "targets", part.y)
    elif isinstance(objective, Classification):
        if part.y.dtype != torch.int64:
            raise PerdureError(f"{place}: labels must be int64; found {part.y.dtype}")
        check_range(place, "labels", part.y, stream.outputs)
        allowed = torch.zeros(len(stream), stream.outputs, dtype=torch.bool)
        for row, task in zip(allowed, stream, strict=True):
            row[list(task.classes)] = True
        origin = part.task if part.task is not None else torch.full_like(part.y, index)
        bad = part.y[~allowed[origin, part.y]]
        if len(bad):
            raise PerdureError(
                f"{place}: labels must be among the task's `classes`; {len(bad)} of {len(part)} are not, "
                f"such as {int(bad[0])}"
            )


def _contents(x: Tensor, y: Tensor) -> list[bytes]:
    """Return what identifies each sample: a hash of its input and label."""
    flat, labels = x.detach().cpu().flatten(1).contiguous().numpy(), y.detach().cpu().numpy()
    return [
        hashlib.blake2b(row.tobytes() + label.tobytes(), digest_size=16).digest()
        for row, label in zip(flat, labels, strict=True)
    ]


def _check_disjoint(where: str, contents: dict[str, list[bytes]], duplicates: float) -> None:
    counts = {which: Counter(part) for which, part in contents.items()}
    natural = max(sum(n for n in count.values() if n > 1) / count.total() for count in counts.values())
    for which, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        part = contents[which]
        shared = sum(sample in counts[other] for sample in part)
        # Two standard errors: in a part of four samples, a share is known only roughly.
        error = 2 * math.sqrt(natural * (1 - natural) / len(part))
        if shared / len(part) > natural + error + duplicates:
            raise PerdureError(
                f"{where}: the {which} part must be disjoint from the {other} part; {shared} of {len(part)} "
                "samples are in both"
            )


def _check_masks(stream: Stream) -> None:
    masks = stream.masks()
    if masks.shape != (len(stream), stream.outputs) or masks.dtype != torch.bool:
        raise PerdureError(
            f"stream {stream.name!r}: masks must be [{len(stream)}, {stream.outputs}] bool; "
            f"found {_kind(masks)}"
        )
    for mask, task in zip(masks, stream, strict=True):
        allowed = torch.nonzero(mask).flatten().tolist()
        expected = sorted(task.classes) if stream.setting == "task" else list(range(stream.outputs))
        if allowed != expected:
            raise PerdureError(
                f"task {task.name!r}: in the {stream.setting} setting the mask must allow the outputs "
                f"{expected}; found {allowed}"
            )
