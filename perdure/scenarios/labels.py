"""Labels as users have them, numbers or names, one or several for each sample; and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.objectives import objectives_of
from perdure.scenarios.values import Column, class_count, number_names

# Real numbers with no more different values than this, all whole and none negative, are classes.
MOST_CLASSES = 20
# ---- what they ask for --------------------------------------------------------------------------------


@dataclass
class Target:
    """One target of all tasks: its column in every part, and its objective in every task.

    Parameters
    ----------
    title:
        What errors and notes call it.
    columns:
        For each task the columns of its parts, which become numbers.
    objectives:
        For each task what the user gave; becomes what is minimised.
    names:
        The names of its classes, if they have names.
    notes:
        What is doubtful about it.
    """

    title: str
    columns: list[list[Column]]
    objectives: list[Objective | None]
    names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def settle(self, where: Sequence[Sequence[str]]) -> None:
        """Make all columns numbers, and give every task an objective."""
        flat = [column for task in self.columns for column in task]
        if any(isinstance(column, tuple) for column in flat):
            self._settle_names(where)
        else:
            self._settle_numbers()
        for places, columns, objective in zip(where, self.columns, self.objectives, strict=True):
            for place, column in zip(places, columns, strict=True):
                assert isinstance(column, Tensor)
                if objective is not None and not objective.real:
                    _check_whole(f"{place}, {self.title}" if self.title != "labels" else place, column)

    def _settle_names(self, where: Sequence[Sequence[str]]) -> None:
        for places, columns, objective in zip(where, self.columns, self.objectives, strict=True):
            for place, column in zip(places, columns, strict=True):
                if not isinstance(column, tuple):
                    raise PerdureError(f"{place}: {self.title} are names elsewhere; found numbers here")
                if objective is not None and objective.real:
                    raise PerdureError(
                        f"{place}: {objective} needs {self.title} that are numbers; found names"
                    )
        named = [column for task in self.columns for column in task if isinstance(column, tuple)]
        coded, self.names = number_names(where[0][0], named)
        numbered = iter(coded)
        self.columns = [[next(numbered) for _ in task] for task in self.columns]
        self.objectives = [one or Classification() for one in self.objectives]

    def _settle_numbers(self) -> None:
        """Whole numbers are classes; so are real ones that are all whole, and few."""
        open_ones = [
            i
            for i, (columns, given) in enumerate(zip(self.columns, self.objectives, strict=True))
            if given is None and any(_is_real(column) for column in columns)
        ]
        values = [_values(self.columns[i]) for i in open_ones]
        as_classes, note = _judge(self.title, values)
        self.notes += [note] if note else []
        for i, given in enumerate(self.objectives):
            if given is None:
                real = i in open_ones and not as_classes
                self.objectives[i] = Regression() if real else Classification()


def _is_real(column: Column) -> bool:
    return isinstance(column, Tensor) and column.is_floating_point()


def _values(columns: Sequence[Column]) -> Tensor:
    """Return the different numbers in the columns of a task."""
    every = torch.cat([column.double() for column in columns if isinstance(column, Tensor)])
    found: Tensor = torch.unique(every[~every.isnan()])
    return found


def _judge(title: str, values: Sequence[Tensor]) -> tuple[bool, str]:
    """Tell whether real numbers are classes, and what to note about it."""
    if not values:
        return False, ""
    every: Tensor = torch.unique(torch.cat(list(values)))
    whole = [bool((one == one.round()).all()) for one in values]
    few = len(every) <= MOST_CLASSES and float(every.min() if len(every) else 0) >= 0
    if all(whole) and few:
        return True, (
            f"the {title} are real numbers that are all whole: they are taken as classes "
            "(objective='regression' takes them as numbers)"
        )
    if all(whole):
        why = f"{len(every)} different ones" if len(every) > MOST_CLASSES else "some negative"
        return False, (
            f"the {title} are real numbers that are all whole, {why}: they are targets of a regression "
            "(objective='classification' takes them as classes)"
        )
    if any(all_whole and len(one) <= MOST_CLASSES for all_whole, one in zip(whole, values, strict=True)):
        return False, (
            f"the {title} are real numbers that are all whole in some tasks and not in others: they are "
            "targets of a regression in all (`objective` may differ from task to task)"
        )
    return False, ""


def _check_whole(where: str, column: Tensor) -> None:
    bad = column[~column.isnan() & (column != column.round())] if column.is_floating_point() else column[:0]
    if len(bad):
        raise PerdureError(
            f"{where}: labels of a classification must be whole numbers; found {float(bad[0]):g}"
        )


def gather(
    where: Sequence[Sequence[str]], columns: Sequence[Sequence[Sequence[Column]]], objective: Any
) -> tuple[list[list[Tensor]], list[Objective], list[str]]:
    """Return the labels of all parts of all tasks as tensors, each task's objective, and notes.

    Parameters
    ----------
    where:
        What errors call each part of each task.
    columns:
        For each task and part the columns of labels.
    objective:
        As :func:`objectives_of` takes it.
    """
    numbers_of = [len(part) for task in columns for part in task]
    if len(set(numbers_of)) > 1:
        raise PerdureError(
            f"all parts must have as many labels for each sample as the first, {numbers_of[0]}; found "
            f"{next(n for n in numbers_of if n != numbers_of[0])}"
        )
    given = objectives_of(objective, len(columns), numbers_of[0])
    targets = []
    for j in range(numbers_of[0]):
        title = "labels" if numbers_of[0] == 1 else f"labels of target {j}"
        target = Target(title, [[part[j] for part in task] for task in columns], [task[j] for task in given])
        target.settle(where)
        targets.append(target)
    notes = [note for target in targets for note in target.notes]
    asked = _asked(targets)
    labels = [[_labels(targets, t, p, asked[t]) for p in range(len(task))] for t, task in enumerate(columns)]
    return labels, asked, notes


def _asked(targets: Sequence[Target]) -> list[Objective]:
    """Return the objective of each task: that of its one target, or those of several side by side."""
    settled = [[one for one in target.objectives if one is not None] for target in targets]
    if len(targets) == 1:
        return settled[0]
    widths = []
    for target, objectives in zip(targets, settled, strict=True):
        classes = [
            column[~column.isnan()].long()
            for columns, objective in zip(target.columns, objectives, strict=True)
            for column in columns
            if isinstance(column, Tensor) and not objective.real
        ]
        # One class alone would have nothing to compete with.
        widths.append(max(class_count(target.title, classes), 2))
    return [
        Targets(
            tuple(each),
            tuple(w if one.reads is None else one.reads for w, one in zip(widths, each, strict=True)),
        )
        for each in zip(*settled, strict=True)
    ]


def _labels(targets: Sequence[Target], task: int, part: int, objective: Objective) -> Tensor:
    columns = [target.columns[task][part] for target in targets]
    tensors = [column for column in columns if isinstance(column, Tensor)]
    if len(targets) == 1:
        return tensors[0].to(torch.float32 if objective.real else torch.int64)
    return torch.stack([column.to(torch.float32) for column in tensors], 1)
