"""The training, validation and test samples of a source, before they are dealt out to tasks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, check_setting
from perdure.scenarios.contract.task import Task
from perdure.scenarios.contract.transforms import Bytes
from perdure.scenarios.draws import Draws
from perdure.scenarios.source import Source
from perdure.scenarios.strata import holdout


class Fold(NamedTuple):
    """Samples that serve one purpose: the rows of a source's arrays, in the order in which they come."""

    x: Tensor
    y: Tensor
    domain: Tensor
    rows: Tensor
    scale: Bytes | None

    def where(self, keep: Tensor) -> Fold:
        """Return the samples whose rows ``keep`` (bool, over all rows of the arrays) selects."""
        return self._replace(rows=self.rows[keep[self.rows]])

    def part(self, labels: Tensor) -> Part:
        """Return the samples as a part; ``labels[c]`` is what class ``c`` is called there."""
        y = self.y[self.rows]
        return Part(self.x[self.rows], y if y.is_floating_point() else labels[y], scale=self.scale)


class Folds(NamedTuple):
    """The three disjoint folds of a source."""

    train: Fold
    val: Fold
    test: Fold


def fold(source: Source, val: float, seed: int) -> Folds:
    """Set the share ``val`` of every class aside for validation, unless the source says which samples are.

    Training samples come shuffled.
    """
    share = check_number("`val`", val, high=1, ends="()")
    domain, domain_test = source.domain, source.domain_test
    if domain is None or domain_test is None:
        domain, domain_test = torch.zeros_like(source.y), torch.zeros_like(source.y_test)
    strata = domain if source.objective.real else domain * source.classes + source.y
    draws = Draws(seed, "validation")
    if source.validation is None:
        train, held = holdout(strata, share, draws)
    else:
        order = draws.permutation(len(source.y))
        train, held = order[~source.validation[order]], order[source.validation[order]]
    return Folds(
        Fold(source.x, source.y, domain, train, source.scale),
        Fold(source.x, source.y, domain, held, source.scale),
        Fold(source.x_test, source.y_test, domain_test, torch.arange(len(source.y_test)), source.scale),
    )


def make_task(
    name: str,
    folds: Folds,
    labels: Tensor,
    outputs: tuple[int, ...],
    objective: Objective = Classification(),  # noqa: B008 (it is frozen)
) -> Task:
    """Make a task of three folds, none of which may be empty."""
    for which, part in zip(("training", "validation", "test"), folds, strict=True):
        if not len(part.rows):
            raise PerdureError(
                f"task {name!r} must have training, validation and test samples; found no {which} samples"
            )
    train, val, test = (part.part(labels) for part in folds)
    return Task(name, train, val, test, outputs, objective)


def check_goal(source: Source, setting: Setting) -> None:
    """Refuse a setting that does not exist, or in which a regression would have to compete."""
    check_setting(setting)
    if source.objective.real and setting == "class":
        raise PerdureError(
            f"source {source.name!r} is a regression: no classes compete, and `setting` must "
            "be task, domain or joint; found 'class'"
        )


def shared_labels(setting: Setting, task: int, classes: int) -> Tensor:
    """Labels of task ``task`` when every task has all the classes: shared, or outputs of its own."""
    offset = 0 if setting == "domain" else task * classes
    return torch.arange(offset, offset + classes)


def shared_outputs(setting: Setting, tasks: int, classes: int) -> int:
    """Width of the output when every task has all the classes."""
    return classes if setting == "domain" else tasks * classes
