"""Streams whose tasks are disjoint pieces of one source."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from perdure.core.checks import check_one_of, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.generators.folds import (
    Folds,
    check_goal,
    fold,
    make_task,
    shared_labels,
    shared_outputs,
)
from perdure.scenarios.source import Source, SourceLike, as_source

WAYS = ("classes", "groups", "domain")


@checked
def split(
    source: SourceLike = "digits",
    classes_per_task: int | None = None,
    setting: Setting = "class",
    *,
    by: str | None = None,
    tasks: int | None = None,
    shuffle_classes: bool = False,
    online: bool = False,
    val: float = 0.1,
    seed: int = 0,
) -> Stream:
    """Divide a source into tasks: by classes, by natural groups of classes, or by domain.

    Parameters
    ----------
    source:
        A source, its name (``"digits"``), or arrays ``(x, y)`` or ``(x, y, x_test, y_test)``.
    classes_per_task:
        How many classes a task holds; 2 when ``by="classes"`` and nothing is said.
    setting:
        ``"class"`` and ``"joint"``: one output for every class of the source; ``"task"``: likewise, and only
        the task's own compete; ``"domain"``: the classes of every task are 0..k-1 and share the outputs.
        Tasks by domain hold all classes: outputs are then shared in ``"domain"`` and otherwise each task
        has outputs of its own.
    by:
        ``"classes"``, ``"groups"`` (the source's natural sets of classes) or ``"domain"`` (its number for
        each sample). Default: what the source has, unless ``classes_per_task`` is given.
    tasks:
        How many tasks to make; default: all there are. Outputs are those of the full stream.
    shuffle_classes:
        Draw the order of the classes (or of the natural tasks) by ``seed``.
    online:
        True when the samples may be passed over only once.
    val:
        Share of the training samples of each class that becomes the validation part.
    seed:
        Decides the validation samples, the order of the training samples and that of the classes.

    Raises
    ------
    PerdureError
        When the classes cannot be divided like this, or a task would have no samples.

    Examples
    --------
    >>> stream = split("digits", classes_per_task=5, setting="domain")
    >>> stream.names, stream.outputs
    (['0-4', '5-9'], 5)
    """
    data = as_source(source)
    check_goal(data, setting)
    way = _way(data, by, classes_per_task)
    folds = fold(data, val, seed)
    if way == "domain":
        made, outputs = _by_domain(data, folds, setting, shuffle_classes, seed)
    else:
        if way == "groups":
            groups, names = _natural_groups(data, shuffle_classes, seed)
        else:
            per_loss_gradients = 2 if classes_per_task is None else classes_per_task
            groups, names = _equal_groups(data, per_loss_gradients, shuffle_classes, seed)
        made, outputs = _by_classes(data, folds, setting, groups, names)
    if tasks is not None and check_whole("`tasks`", tasks) > len(made):
        raise PerdureError(
            f"`tasks` must be at most {len(made)}, the number of tasks there are; found {tasks}."
        )
    kept = tuple(made[:tasks])
    return Stream(f"split-{data.name}", kept, setting, outputs, online, data.notes)


def _way(data: Source, by: str | None, classes_per_task: int | None) -> str:
    has = {
        "classes": not data.objective.real,
        "groups": data.groups is not None,
        "domain": data.domain is not None,
    }
    if by is None:
        by = (
            "classes"
            if classes_per_task is not None
            else next((way for way in ("groups", "domain", "classes") if has[way]), "classes")
        )
    check_one_of("`by`", by, WAYS)
    if not has[by] and data.objective.real:
        raise PerdureError(
            f"source {data.name!r} is a regression and has no {by}: its tasks are those of a `domain` column"
        )
    if not has[by]:
        raise PerdureError(f"`by` is {by!r}, but source {data.name!r} has no {by}")
    if by != "classes" and classes_per_task is not None:
        raise PerdureError(f"`classes_per_task` goes with by='classes'; found by={by!r}")
    return by


def _order(number: int, shuffle: bool, seed: int) -> list[int]:
    order: list[int] = Draws(seed, "order of classes").permutation(number).tolist()
    return order if shuffle else list(range(number))


def _equal_groups(
    data: Source, size: int, shuffle: bool, seed: int
) -> tuple[list[tuple[int, ...]], list[str]]:
    if data.classes % check_whole("`classes_per_task`", size):
        raise PerdureError(
            f"`classes_per_task` must divide {data.classes}, the number of classes; found {size}."
        )
    order = _order(data.classes, shuffle, seed)
    groups = [tuple(order[i : i + size]) for i in range(0, data.classes, size)]
    return groups, [_group_name(data, group) for group in groups]


def _group_name(data: Source, group: Sequence[int]) -> str:
    names = [data.class_names[c] for c in group]
    in_a_row = list(group) == list(range(group[0], group[0] + len(group)))
    return f"{names[0]}-{names[-1]}" if len(names) > 3 and in_a_row else "/".join(names)


def _natural_groups(data: Source, shuffle: bool, seed: int) -> tuple[list[tuple[int, ...]], list[str]]:
    assert data.groups is not None
    assert data.group_names is not None
    order = _order(len(data.groups), shuffle, seed)
    return [data.groups[i] for i in order], [data.group_names[i] for i in order]


def _by_classes(
    data: Source, folds: Folds, setting: Setting, groups: list[tuple[int, ...]], names: list[str]
) -> tuple[list[Task], int]:
    made = []
    for group, name in zip(groups, names, strict=True):
        member = torch.zeros(data.classes, dtype=torch.bool)
        member[list(group)] = True
        labels, classes = torch.arange(data.classes), group
        if setting == "domain":
            classes = tuple(range(len(group)))
            labels[list(group)] = torch.arange(len(group))
        chosen = Folds(*(part.where(member[part.y]) for part in folds))
        made.append(make_task(name, chosen, labels, classes))
    return made, max(len(group) for group in groups) if setting == "domain" else data.classes


def _by_domain(
    data: Source, folds: Folds, setting: Setting, shuffle: bool, seed: int
) -> tuple[list[Task], int]:
    assert data.domain_names is not None
    made = []
    for index, domain in enumerate(_order(len(data.domain_names), shuffle, seed)):
        labels = shared_labels(setting, index, data.outputs)
        chosen = Folds(*(part.where(part.domain == domain) for part in folds))
        own = tuple(labels.tolist())
        made.append(make_task(data.domain_names[domain], chosen, labels, own, data.objective))
    return made, shared_outputs(setting, len(made), data.outputs)
