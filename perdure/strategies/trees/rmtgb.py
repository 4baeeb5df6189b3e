"""Robust multi-task gradient boosting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.task import Task, samples
from perdure.scenarios.draws import Draws
from perdure.strategies.contract.external import External, Terms
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.registry import strategy
from perdure.strategies.trees.ensemble import Array, Ensemble, Inputs
from perdure.strategies.trees.targets import Columns

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

MOST_ROUNDS, MOST_DEPTH = 100_000, 30


@strategy("r-mtgb")
class RMTGB(External):
    """Boost trees for all tasks together, then for outlier tasks and the others apart, then for each task.

    ``F_t(x) = F_meta(x) + (1 - s_t) F_non(x) + s_t F_out(x) + F_task,t(x)`` with ``s_t = sigmoid(theta_t)``:
    K numbers, one for a real label, one per class for a class. Each F is a sum of regression trees, grown a
    round at a time on the negative gradients r of ``(y - F)^2 / 2`` or cross-entropy; a tree has all K
    outputs, a leaf is the mean of what reaches it, times the learning rate. The blocks follow each other:

    1. ``meta`` rounds of a tree on the samples of all tasks;
    2. ``outlier`` rounds of a tree of F_non on ``(1 - s_t) r``, one of F_out on ``s_t r``, and a step
       ``theta_t += theta_rate s_t (1 - s_t) mean_i r_i . (F_out - F_non)(x_i) / L_0`` on the gradient of task
       t's mean loss, in units of the loss L_0 of the constant that F starts from;
    3. ``task`` rounds of a tree of each task's own.

    F starts from the constant with the least loss on all tasks' labels, or, where only the third block has
    rounds, on each task's own; shares of classes are taken as ``(n_k + 1) / (n + classes)``. What decides
    which of F_non and F_out is which: the mean of the s_t is at most 1/2, as outliers are the fewer.

    0 rounds leave a block out: ``r-mtgb(outlier=0, task=0)`` is pooled boosting, ``r-mtgb(meta=0,
    outlier=0)`` boosting of each task alone, ``r-mtgb(outlier=0)`` multi-task boosting without outliers.

    It is a learner of its own: model, optimiser, epochs and batch size of the run mean nothing to it. A seed
    decides the theta_t that it starts from and which of equally good splits is taken. Inputs are read as
    flat rows of numbers. Labels that are missing (NaN) count in no tree. It asks for the task setting, and
    for labels of one kind in all tasks unless ``meta=0, outlier=0``. The s_t of each seed stand in
    ``results.extras[name]["report"]["r-mtgb"]["outlier"]``, ``[replicas][tasks]``;
    :func:`perdure.analysis.outlier_auroc` holds them against the tasks that the stream calls outliers.

    Parameters
    ----------
    meta, outlier, task:
        Rounds of each block.
    max_depth:
        Splits between a tree's root and a leaf at most: up to ``2^max_depth`` leaves.
    learning_rate:
        What each tree is multiplied by, in (0, 1].
    theta_rate:
        Of the steps of theta.
    theta_spread:
        Deviation of the normal numbers that the theta_t start from. With 0, F_non and F_out stay the same.

    Examples
    --------
    >>> from perdure import compare
    >>> strategies = {"robust": "r-mtgb(5, 5, 5)", "alone": "r-mtgb(meta=0, outlier=0, task=10)"}
    >>> stream = "r-mtgb(tasks=4, outliers=1, samples=50, test_samples=50)"
    >>> results = compare(stream, strategies, seeds=2, quiet=True)
    >>> results.scores["robust"].shape
    (2, 1, 4)

    Source: Emami, Martinez-Munoz and Hernandez-Lobato, "Robust multi-task gradient boosting", 2025, arXiv
    2507.11411. Deviations: trees of any depth where their code grows stumps, exact seeds, steps of theta in
    units of a loss, and the names of the two ensembles by how many tasks lean on each.
    """

    meta: int = 100
    outlier: int = 100
    task: int = 100
    max_depth: int = 3
    learning_rate: float = 0.1
    theta_rate: float = 10.0
    theta_spread: float = 0.1

    def __post_init__(self) -> None:
        rounds = [
            check_whole(name, getattr(self, name), least=0, most=MOST_ROUNDS)
            for name in ("meta", "outlier", "task")
        ]
        if not sum(rounds):
            raise PerdureError("r-mtgb needs rounds in meta, outlier or task; found 0 in each")
        check_whole("max_depth", self.max_depth, most=MOST_DEPTH)
        check_number("learning_rate", self.learning_rate, high=1, ends="(]")
        check_number("theta_rate", self.theta_rate)
        check_number("theta_spread", self.theta_spread)

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))))]

    def check(self, stream: Stream) -> None:
        if stream.setting != "task" and len(stream) > 1:
            raise PerdureError(
                f"{self.name} answers each sample by its task: give a stream with setting='task'; "
                f"found setting={stream.setting!r}"
            )
        kinds = {Columns.of(task, self.name).kinds for task in stream}
        if self.meta + self.outlier and len(kinds) > 1:
            raise PerdureError(
                f"{self.name} needs labels of one kind in all tasks, unless meta=0 and outlier=0; found "
                f"{' and '.join(sorted(kinds))}"
            )
        for task in stream:
            if not samples(task.train).example()["x"].is_floating_point():
                raise PerdureError(f"{self.name} reads real numbers; found token ids in task {task.name!r}")

    def start(self, stream: Stream, terms: Terms) -> Boosted:
        columns = [Columns.of(task, self.name) for task in stream]
        return Boosted(self, columns, stream.outputs, terms.seed)


@dataclass(eq=False)
class Rows:
    """Inputs ``x [n, D]``; labels ``y``, 1 where they are ``there``, and the sum ``f`` so far, ``[n, K]``."""

    x: Inputs
    y: Array
    there: Array
    f: Array

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, columns: Columns, part: Part) -> Rows:
        """Read off a part the rows that have labels."""
        y, there = columns.encode(part.y)
        some = there.any(1)  # a row without labels has no part in means over rows either
        return cls(flatten(part.inputs())[some], y[some], there[some], np.zeros_like(y[some]))


class Boosted:
    """One seed's trees."""

    def __init__(self, rules: RMTGB, columns: list[Columns], outputs: int, seed: int) -> None:
        self.rules, self.columns, self.outputs = rules, columns, outputs
        self.ties = Draws(seed, "r-mtgb", "ties")
        start = Draws(seed, "r-mtgb", "theta").normal(len(columns)).numpy()
        self.theta: Array = rules.theta_spread * start
        self.constants = [np.zeros(len(one.outputs)) for one in columns]
        self.meta, self.non, self.out = (self._ensemble(columns[0]) for _ in range(3))
        self.own = [self._ensemble(one) for one in columns]

    def learn(self, task: Task, index: int) -> None:
        """Learn all tasks."""
        part = samples(task.train)
        owner = torch.full((len(part),), index) if part.task is None else part.task
        each = [Rows.of(one, part.take(owner == t)) for t, one in enumerate(self.columns)]
        if self.rules.meta or self.rules.outlier:
            self._learn_together(each)
        else:
            self.constants = [one.start(r.y, r.there) for one, r in zip(self.columns, each, strict=True)]
            for constant, r in zip(self.constants, each, strict=True):
                r.f += constant
        for columns, ensemble, r in zip(self.columns, self.own, each, strict=True):
            for _ in range(self.rules.task):
                residuals = columns.residuals(r.y, r.there, r.f)
                r.f += ensemble.grow(r.x, residuals, r.there, self._tie())

    def predict(self, x: Tensor, index: int) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs of a task."""
        inputs, s = flatten(x), sigmoid(self.theta)[index]
        f = self.meta(inputs) + (1 - s) * self.non(inputs) + s * self.out(inputs) + self.own[index](inputs)
        output = torch.zeros(len(x), self.outputs, device=x.device)
        columns = torch.from_numpy(self.constants[index] + f).to(output)
        output[:, list(self.columns[index].outputs)] = columns
        return output

    def report(self) -> dict[str, Tensor]:
        """How much of an outlier each task is, ``[tasks]``."""
        return {"outlier": torch.from_numpy(sigmoid(self.theta))} if self.rules.outlier else {}

    def count_parameters(self) -> int:
        """How many numbers the trees, the constants and theta are."""
        ensembles = [self.meta, self.non, self.out, *self.own]
        return sum(one.parameters for one in ensembles) + sum(map(len, self.constants)) + len(self.theta)

    def _ensemble(self, columns: Columns) -> Ensemble:
        return Ensemble(len(columns.outputs), self.rules.max_depth, self.rules.learning_rate)

    def _tie(self) -> int:
        """Return a seed for what a tree does where splits are equally good."""
        return int(self.ties.uniform(1) * 2**31)

    def _learn_together(self, each: list[Rows]) -> None:
        """Grow the trees of the first two blocks."""
        owner = np.repeat(np.arange(len(each)), [len(r) for r in each])
        r = Rows(*(np.concatenate([getattr(one, k) for one in each]) for k in ("x", "y", "there", "f")))
        columns = self.columns[0]
        constant = columns.start(r.y, r.there)
        self.constants = [constant] * len(each)
        r.f += constant
        unit = columns.loss(r.y, r.there, r.f) or 1.0  # labels that are all the same leave nothing to learn
        for _ in range(self.rules.meta):
            r.f += self.meta.grow(r.x, columns.residuals(r.y, r.there, r.f), r.there, self._tie())
        non, out = np.zeros_like(r.f), np.zeros_like(r.f)

        def mixed() -> Array:
            share = sigmoid(self.theta)[owner, None]
            return np.asarray(r.f + (1 - share) * non + share * out)

        counts = np.maximum(np.bincount(owner, minlength=len(each)), 1)
        for _ in range(self.rules.outlier):
            s = sigmoid(self.theta)
            share, residuals = s[owner, None], columns.residuals(r.y, r.there, mixed())
            non += self.non.grow(r.x, (1 - share) * residuals, r.there, self._tie())
            out += self.out.grow(r.x, share * residuals, r.there, self._tie())
            gain = (columns.residuals(r.y, r.there, mixed()) * (out - non)).sum(1)
            slope = s * (1 - s) * np.bincount(owner, gain, len(each)) / counts / unit
            self.theta = self.theta + self.rules.theta_rate * slope
        r.f = mixed()
        for t, one in enumerate(each):
            one.f = r.f[owner == t]
        if sigmoid(self.theta).mean() > 0.5:
            self.non, self.out, self.theta = self.out, self.non, -self.theta


def flatten(x: Tensor) -> Inputs:
    """Return inputs as rows of numbers, ``[n, D]``."""
    return np.ascontiguousarray(x.flatten(1).float().cpu().numpy())


def sigmoid(theta: Array) -> Array:
    """Return ``1 / (1 + exp(-theta))``, which does not overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -theta)))
