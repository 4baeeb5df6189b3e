"""What a stream may be but probably was not meant to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch

from perdure.scenarios.contract.objective import Classification, Objective
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task, samples
from perdure.scenarios.contract.world import World

SHOWN = 5


def doubts(stream: Stream) -> list[str]:
    """Return what is allowed but doubtful about a stream, one line each: results repeat it as warnings.

    These are the notes that the stream carries, tasks that are scored differently, and what labels show:
    different tasks that share outputs where each class should have one of its own, tasks of the domain
    setting that have no class in common, and tasks in which a single output competes.

    Parameters
    ----------
    stream:
        Any stream that keeps the contract.
    """
    found = [*stream.notes, *(_directions(stream) or _scored_apart(stream))]
    # Where episodes are scored, labels are what somebody did.
    played = any(isinstance(task.test, World) for task in stream)
    if all(isinstance(task.objective, Classification) for task in stream) and not played:
        found += _alone(stream) if stream.setting == "task" else []
        found += _strangers(stream) if stream.setting == "domain" else _shared(stream)
    return found


def _scored_apart(stream: Stream) -> list[str]:
    metrics = dict.fromkeys(task.objective.metric for task in stream)
    if len(metrics) == 1:
        return []
    return [f"tasks are scored by {_list(metrics)}: averages over tasks mix these"]


def _directions(stream: Stream) -> list[str]:
    asked: list[Objective] = []
    for task in stream:
        asked += task.objective.each if isinstance(task.objective, Targets) else (task.objective,)
    up, down = (
        list(dict.fromkeys(one.metric for one in asked if one.higher_is_better == way))
        for way in (True, False)
    )
    if not up or not down:
        return []
    return [
        f"a higher {_list(up)} is better, but a lower {_list(down)}: means over the two say nothing "
        "(regressions can be scored by r2)"
    ]


def _labels(task: Task) -> set[int]:
    # Not of the training part: operators mix samples of other tasks into it.
    return set(torch.cat([samples(task.val).y, samples(task.test).y]).tolist())


def _shared(stream: Stream) -> list[str]:
    # A task that comes again, with the test part it had, is no other task.
    different = {id(task.test): task for task in stream}
    owners: dict[int, list[str]] = defaultdict(list)
    for task in different.values():
        for label in sorted(_labels(task)):
            owners[label].append(task.name)
    several = {label: names for label, names in owners.items() if len(names) > 1}
    if not several:
        return []
    sharing = {name for names in several.values() for name in names}
    names = [name for name in stream.names if name in sharing]
    return [
        f"tasks {_list(names)} share the outputs of the classes {_list(sorted(several))}: where these are "
        "different classes, number classes through the whole stream"
    ]


def _strangers(stream: Stream) -> list[str]:
    if set.intersection(*(_labels(task) for task in stream)):
        return []
    return [
        "no class occurs in all tasks, although they share outputs: in the domain setting the labels of "
        "every task number its classes from 0"
    ]


def _alone(stream: Stream) -> list[str]:
    names = [task.name for task in stream if len(task.outputs) == 1]
    return [f"tasks {_list(names)} have one class each: they score 1 whatever is learned"] if names else []


def _list(values: Iterable[object]) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
