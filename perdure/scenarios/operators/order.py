"""Operators on the sequence of tasks: repeat them, take some, join two streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from perdure.core.checks import check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import MOST_TASKS, Stream, check_is_stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.contract.world import World


@checked
def repeat(stream: Stream, times: int = 2) -> Stream:
    """Let all tasks come again, in the same order and with the same samples.

    A task that comes again is a task of its own in the results (a stage and a column), with the same three
    parts and the same outputs; its name ends in ``(again)``, ``(again 2)``, ...

    Parameters
    ----------
    stream:
        Any stream that is not online: there, samples may be seen only once.
    times:
        How often each task comes.

    Raises
    ------
    PerdureError
        For an online stream, or ``times`` below 1.
    """
    check_is_stream(stream)
    check_whole("`times`", times, most=max(1, MOST_TASKS // len(stream)))
    if stream.online and times > 1:
        raise PerdureError("an online stream shows each sample once: `repeat` needs one that is not online")
    tasks = []
    for again in range(times):
        ending = "" if again == 0 else " (again)" if again == 1 else f" (again {again})"
        for task in stream:
            train = _renumber(task.train, again * len(stream))
            tasks.append(replace(task, name=task.name + ending, train=train))
    return stream.with_tasks(tasks, f"{stream.name}-x{times}" if times > 1 else stream.name)


def _renumber(part: Part | World, shift: int) -> Part | World:
    """Return a part with other numbers for the tasks that its samples come from; a world's are its own."""
    return part if isinstance(part, World) or part.task is None else replace(part, task=part.task + shift)


@checked
def take(stream: Stream, tasks: int | Sequence[int]) -> Stream:
    """Keep the first tasks, as many as a number says, or those that a list names, in its order.

    The outputs stay those of the full stream. In a stream with soft boundaries, the samples that come from
    tasks that are not kept are left out.

    Parameters
    ----------
    stream:
        Any stream.
    tasks:
        A number, or different indices of tasks.

    Raises
    ------
    PerdureError
        For more tasks than there are, indices that do not exist or occur twice.
    """
    check_is_stream(stream)
    if isinstance(tasks, (list, tuple)):
        chosen = [check_whole("`tasks`", index, least=0) for index in tasks]
    else:
        chosen = list(range(check_whole("`tasks`", tasks, most=MOST_TASKS)))
    if not chosen or max(chosen) >= len(stream) or len(set(chosen)) < len(chosen):
        raise PerdureError(
            f"`tasks` must be at most {len(stream)}, the number of tasks, or different indices in "
            f"0..{len(stream) - 1}; found {tasks!r}"
        )
    place = torch.full((len(stream),), -1, dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    kept = []
    for index in chosen:
        train = stream[index].train
        if isinstance(train, Part) and train.task is not None:
            train = train.take(place[train.task] >= 0)
            train = replace(train, task=None if train.task is None else place[train.task])
        kept.append(replace(stream[index], train=train))
    return stream.with_tasks(kept)


@checked
def concat(first: Stream, second: Stream) -> Stream:
    """Let the tasks of one stream follow on those of another.

    In the domain setting the two share the outputs. Otherwise the second's classes get outputs of their own,
    after those of the first. Names that occur in both streams get ``(2)`` in the second.

    Parameters
    ----------
    first, second:
        Streams of one setting, both online or neither, with inputs of one shape.

    Raises
    ------
    PerdureError
        When the two do not fit together.
    """
    check_is_stream(first)
    check_is_stream(second)
    for what, a, b in (
        ("setting", first.setting, second.setting),
        ("input shape", list(first.input_shape), list(second.input_shape)),
        ("online", first.online, second.online),
        ("kind of task", _kind(first), _kind(second)),
    ):
        if a != b:
            raise PerdureError(
                f"`concat` needs streams of the same {what}; found {a} in {first.name!r} and {b} in "
                f"{second.name!r}"
            )
    shared = first.setting == "domain" or all(isinstance(task.objective, Regression) for task in first)
    offset = 0 if shared else first.outputs
    used = set(first.names)
    tasks = list(first)
    for task in second:
        name = _free(task.name, used)
        used.add(name)
        tasks.append(_shifted(task, name, offset, len(first)))
    outputs = max(first.outputs, second.outputs) if shared else first.outputs + second.outputs
    notes = tuple(dict.fromkeys(first.notes + second.notes))
    return first.with_tasks(tasks, f"{first.name}+{second.name}", outputs=outputs, notes=notes)


def _kind(stream: Stream) -> str:
    return ", ".join(sorted({task.objective.metric for task in stream}))


def _free(name: str, used: set[str]) -> str:
    if name not in used:
        return name
    number = 2
    while f"{name} ({number})" in used:
        number += 1
    return f"{name} ({number})"


def _shifted(task: Task, name: str, labels: int, tasks: int) -> Task:
    """Return the task with other numbers for its labels, and for the tasks its samples come from."""
    moved = task.map_parts(lambda part: replace(part, y=part.y + labels)) if labels else task
    outputs = tuple(c + labels for c in task.outputs)
    return replace(moved, name=name, train=_renumber(moved.train, tasks), outputs=outputs)
