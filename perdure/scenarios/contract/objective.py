"""Objectives: what a task minimises, and how its outputs are scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Batch
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.scenarios.contract.scores import SCORES, Score


@dataclass(frozen=True)
class Objective:
    """What a task minimises, and how its outputs are scored. Subclass it for a task of another kind.

    A score is computed from sums over the samples of a test part, so that R2, F1 or AUROC are those of the
    whole part and not a mean over pieces of it: :meth:`score` gives what is added up, :meth:`total` makes the
    score of the sums.
    """

    metric = "score"
    higher_is_better = True
    # Whether labels are real numbers.
    real: ClassVar[bool] = False

    @property
    def reads(self) -> int | None:
        """How many outputs are read, from the first of the task's on; ``None``: all that may compete."""
        return 1 if self.real else None

    @property
    def targets(self) -> int:
        """How many labels a sample has, each with a loss of its own."""
        return 1

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Loss of each sample, ``[n]``."""
        raise PerdureError(f"{type(self).__name__} does not say what to minimise: override `loss`")

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        """``-log p(y | x)`` of each sample, ``[n]``, for Fisher information; by default the loss."""
        return self.loss(output, batch)

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """What is added up over a task's samples: ``[n]``, or ``[n, width]``."""
        raise PerdureError(f"{type(self).__name__} does not say how to score: override `score`")

    def total(self, sums: Tensor, count: Tensor) -> Tensor:
        """Score of a task, ``[...]``, from the sums ``[..., width]`` over its ``count`` samples."""
        return sums[..., 0] / count

    def width(self, outputs: int) -> int | None:
        """Return how many numbers :meth:`score` gives for a sample; ``None`` where it gives ``[n]``."""
        labels = torch.zeros(1) if self.targets == 1 else torch.zeros(1, self.targets)
        labels = labels if self.real else labels.long()
        zero = torch.zeros(1, dtype=torch.int64)
        rows = {"x": torch.zeros(1, 1), "y": labels, "task": zero, "weight": torch.ones_like(labels).float()}
        batch = Batch(rows, zero[0], Rng(zero[0], zero[0]))
        found = self.score(torch.zeros(1, outputs if self.reads is None else self.reads), batch)
        return None if found.ndim == 1 else found.shape[1]


@dataclass(frozen=True)
class Scored(Objective):
    """An objective whose score goes by name.

    Parameters
    ----------
    by:
        Name of the score: :data:`perdure.scenarios.contract.scores.SCORES` lists them.
    """

    by: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.by, str) or self.how.real != self.real:
            fitting = ", ".join(name for name in SCORES if SCORES.get(name).real == self.real)
            raise PerdureError(f"{type(self).__name__} can be scored by {fitting}; found {self.by!r}")

    @property
    def how(self) -> Score:
        """The score."""
        return SCORES.get(self.by)

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Name of the score."""
        return self.how.title

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a higher score is a better one."""
        return self.how.higher_is_better

    def total(self, sums: Tensor, count: Tensor) -> Tensor:
        return self.how.total(sums, count)

    def __repr__(self) -> str:
        default = type(self)()
        return f"{type(self).__name__}({'' if self == default else repr(self.by)})"


@dataclass(frozen=True, repr=False)
class Classification(Scored):
    """Cross-entropy over the outputs that the task may use; scored by accuracy in [0, 1], or by another name.

    Parameters
    ----------
    by:
        ``"accuracy"``, ``"balanced-accuracy"``, ``"f1"`` (mean over classes) or ``"auroc"`` (two classes).
    """

    by: str = field(default="accuracy", kw_only=True)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return each sample's cross-entropy, ``[n]``."""
        return -output.log_softmax(-1).gather(-1, batch.y.unsqueeze(-1)).squeeze(-1)

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """Return what the score adds up; for accuracy 1 where the highest output is the class, else 0."""
        return self.how.of(output, batch.y)


@dataclass(frozen=True, repr=False)
class Regression(Scored):
    """Squared error of one output; scored by its negative, so that higher is better, or by another name.

    Parameters
    ----------
    by:
        ``"negative-squared-error"``, ``"r2"``, ``"rmse"`` or ``"mae"``.
    """

    by: str = field(default="negative-squared-error", kw_only=True)
    real: ClassVar[bool] = True

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return each sample's squared error, ``[n]``."""
        return (output.squeeze(-1) - batch.y).square()

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """Return what the score adds up; by default each sample's negative squared error, ``[n]``."""
        return self.how.of(output.squeeze(-1), batch.y)


def same(a: Objective, b: Objective) -> bool:
    """Return whether two objectives do the same, which one that holds arrays cannot say of another."""
    try:
        return a is b or (type(a) is type(b) and bool(vars(a) == vars(b)))
    except (RuntimeError, ValueError):
        return False
