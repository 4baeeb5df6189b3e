"""Several labels of the same rows as the tasks of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.exact import Floats, total

PARTS = ("training", "validation", "test")
MOST_CLASSES = 1000
# Deviations below this are rounding: labels are of the size of 1.
CONSTANT = 1e-9


class Rows(NamedTuple):
    """Inputs ``x [n, ...]`` float32 and real labels ``y [n, tasks]`` float64; NaN is a missing one."""

    x: Tensor
    y: Floats


@dataclass(frozen=True)
class Wish:
    """What is to be made of labels, as the generators' parameters of the same names say.

    ``kind`` and ``classes``: real numbers, or cut into classes; ``missing``: share of the training labels;
    ``setting`` and ``per_stage``: how the labels become tasks; ``name`` of the stream.
    """

    kind: Literal["regression", "classification"]
    classes: int
    missing: float | Sequence[float]
    setting: Literal["task", "joint"]
    per_stage: int
    name: str
    seed: int

    def check(self, tasks: int) -> None:
        """Refuse wishes that go together with no stream of so many tasks."""
        check_whole("`classes`", self.classes, least=2, most=MOST_CLASSES)
        if tasks % check_whole("`per_stage`", self.per_stage, most=tasks):
            raise PerdureError(f"`per_stage` must divide {tasks}, the tasks; found {self.per_stage}")
        shares = self.shares(tasks)
        for share in shares:
            check_number("`missing`", share, high=1, ends="[]")
        if self.kind == "classification" and self.per_stage == 1:
            if self.setting == "joint":
                raise PerdureError(
                    "classes of all tasks would compete in the joint setting: `setting` must be 'task', or "
                    f"`per_stage` at least 2; found kind={self.kind!r}"
                )
            if any(shares):
                raise PerdureError(
                    "classes can be missing where samples have several labels: `per_stage` must be at least "
                    "2; found 1"
                )

    def shares(self, tasks: int) -> list[float]:
        """Share of each task's training labels that are missing."""
        if isinstance(self.missing, int | float):
            return [float(self.missing)] * tasks
        if len(self.missing) != tasks:
            raise PerdureError(
                f"`missing` must be a number, or one for each of {tasks} tasks; found {len(self.missing)}"
            )
        return [float(share) for share in self.missing]


def lay_out(names: Sequence[str], parts: Sequence[Rows], wish: Wish, info: dict[str, Any]) -> Stream:
    """Make a stream of the training, validation and test rows of all tasks.

    Labels are standardised with, or cut at, what the training rows say, and every task, or ``per_stage`` of
    them, becomes a task of the stream with outputs of its own. All share the tensor of their inputs.
    """
    train, *others = parts
    labels = [_forget(train.y, wish), *(part.y for part in others)]
    _check_labels(names, labels)
    change = _cut if wish.kind == "classification" else _standardise
    made = [torch.from_numpy(y) for y in change(names, labels, wish.classes)]
    one: Objective = Classification() if wish.kind == "classification" else Regression(by="r2")
    reads = wish.classes if wish.kind == "classification" else 1
    stages = []
    for first in range(0, len(names), wish.per_stage):
        own = tuple(range(first * reads, (first + wish.per_stage) * reads))
        train_part, val, test = (
            Part(part.x, _labels_of(y, first, wish, own[0])) for part, y in zip(parts, made, strict=True)
        )
        name, objective = names[first], one
        if wish.per_stage > 1:
            name = f"tasks {first + 1}-{first + wish.per_stage}"
            objective = Targets((one,) * wish.per_stage, (reads,) * wish.per_stage)
        stages.append(Task(name, train_part, val, test, own, objective))
    info = {"tasks": list(names), **info}
    return Stream(wish.name, tuple(stages), wish.setting, len(names) * reads, info=info)


def _labels_of(y: Tensor, first: int, wish: Wish, output: int) -> Tensor:
    """Labels of a stage: ``[n, per_stage]`` float32; classes of a single task count from its output."""
    if wish.per_stage > 1:
        return y[:, first : first + wish.per_stage].to(torch.float32).contiguous()
    if wish.kind == "classification":
        return y[:, first].to(torch.int64) + output
    return y[:, first].to(torch.float32)


def _forget(y: Floats, wish: Wish) -> Floats:
    """Let labels be missing, each with its task's share as the probability."""
    shares = np.asarray(wish.shares(y.shape[1]))
    if not shares.any():
        return y
    drawn = Draws(wish.seed, "missing").uniform(y.size).numpy().reshape(y.shape)
    return np.where(drawn < shares, np.nan, y)


def _check_labels(names: Sequence[str], labels: Sequence[Floats]) -> None:
    for which, y in zip(PARTS, labels, strict=True):
        for name, count in zip(names, (~np.isnan(y)).sum(0), strict=True):
            if not count:
                raise PerdureError(f"task {name!r} must have {which} labels; all {len(y)} are missing")


def _standardise(names: Sequence[str], labels: Sequence[Floats], classes: int) -> list[Floats]:
    """Subtract the mean of the training labels that are there, and divide by their deviation."""
    there = ~np.isnan(labels[0])
    count = there.sum(0)
    mean = total(np.where(there, labels[0], 0.0)) / count
    far = np.where(there, labels[0] - mean, 0.0)
    deviation = np.sqrt(total(far * far) / count)
    for name, value, n in zip(names, deviation, count, strict=True):
        if value < CONSTANT:
            raise PerdureError(f"task {name!r} must have labels that vary; found {n} equal training labels")
    return [(y - mean) / deviation for y in labels]


def _cut(names: Sequence[str], labels: Sequence[Floats], classes: int) -> list[Floats]:
    """Cut each label into classes that are equally frequent among the training labels that are there."""
    cut = [np.where(np.isnan(y), np.nan, 0.0) for y in labels]
    for t, name in enumerate(names):
        ordered = np.sort(labels[0][~np.isnan(labels[0][:, t]), t])
        places = [len(ordered) * k // classes for k in range(classes)]
        if len(ordered) < classes or (np.diff(ordered[places]) <= 0).any():
            raise PerdureError(
                f"task {name!r} must have training labels for {classes} classes; found "
                f"{len(np.unique(ordered))} different ones"
            )
        for y, out in zip(labels, cut, strict=True):
            for threshold in ordered[places[1:]]:
                out[:, t] += y[:, t] >= threshold
    return cut


def in_bins(x: Tensor, levels: int) -> Tensor:
    """Cut standard normal numbers ``[n]`` into equally likely bins, a column each: ``[n, levels]``."""
    # Rounded: the last digit of a quantile depends on the machine.
    edges = [round(NormalDist().inv_cdf(k / levels), 9) for k in range(1, levels)]
    place = torch.bucketize(x.double(), torch.tensor(edges, dtype=torch.float64))
    return torch.nn.functional.one_hot(place, levels).to(torch.float32)


def rounded(matrix: Floats) -> list[list[float]]:
    """Return a matrix of correlations as lists of numbers with six digits."""
    rows: list[list[float]] = matrix.round(6).tolist()
    return rows
