"""What a stream is made of: labelled parts, the objective that scores them, and the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.transforms import Bytes

if TYPE_CHECKING:
    from perdure.core.batch import Batch, Params
    from perdure.core.net import Net


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled samples: the training, validation or test part of a task.

    Parameters
    ----------
    x:
        Inputs, ``[n, ...]``: floating point, token ids (int64), or bytes (uint8) with a ``scale``.
    y:
        Labels, ``[n]``: class indices (int64) or regression targets (floating point).
    task:
        Index of the task that each sample comes from, ``[n]`` int64; ``None`` when all come from the
        task that holds the part. Streams with soft boundaries (``blur``) need it.
    transform:
        Applied to ``x`` when the part is read, so that many permuted tasks can share one array. It changes
        each sample by itself, so that it may be applied to a batch.
    scale:
        What the bytes of ``x`` mean; ``None`` when ``x`` holds no bytes. It comes before the transform.
    """

    x: Tensor
    y: Tensor
    task: Tensor | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    scale: Bytes | None = None

    def __len__(self) -> int:
        return len(self.y)

    def inputs(self) -> Tensor:
        """Return the inputs as the model sees them, ``[n, ...]``."""
        x = self.x if self.scale is None else self.scale(self.x)
        return x if self.transform is None else self.transform(x)

    def read(self, most: int) -> Iterator[Tensor]:
        """Read the inputs in pieces of at most ``most`` samples, in order."""
        for start in range(0, max(len(self), 1), most):
            yield replace(self, x=self.x[start : start + most]).inputs()

    def in_bytes(self) -> Tensor | None:
        """Return the inputs as bytes that are still to be scaled; ``None`` where that cannot wait."""
        if self.scale is None:
            return None
        if self.transform is None:
            return self.x
        return self.transform(self.x) if getattr(self.transform, "moves", False) else None

    def take(self, index: Tensor) -> Part:
        """Return the samples that ``index`` (int64 or bool) selects, in its order."""
        task = None if self.task is None else self.task[index]
        return replace(self, x=self.x[index], y=self.y[index], task=task)


def in_bytes(parts: Sequence[Part]) -> list[Tensor] | None:
    """Return the inputs of parts as bytes of one scale; ``None`` where they are not."""
    kept = [part.in_bytes() for part in parts]
    found = [x for x in kept if x is not None]
    return found if len(found) == len(parts) and len({part.scale for part in parts}) == 1 else None


@dataclass(frozen=True)
class Objective:
    """What a task asks for: where its batches come from, what is minimised, how it is scored.

    The defaults draw supervised samples. An objective whose data depend on the current parameters
    (reinforcement learning) overrides :meth:`sample` and keeps its world in ``carry``.
    """

    metric = "score"
    higher_is_better = True

    def init(self, seed: Tensor) -> dict[str, Tensor]:
        """Return what the objective carries from step to step for one replica (tensors only)."""
        return {}

    def sample(
        self, net: Net, params: Params, carry: dict[str, Tensor], batch: Batch
    ) -> tuple[Batch, dict[str, Tensor]]:
        """Turn the batch drawn from the task's data into the one to learn from."""
        return batch, carry

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Loss of each sample, ``[n]``."""
        raise PerdureError(f"{type(self).__name__} does not say what to minimise: override `loss`")

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Score of each sample, ``[n]``; the score of a task is their mean."""
        raise PerdureError(f"{type(self).__name__} does not say how to score: override `score`")


@dataclass(frozen=True)
class Classification(Objective):
    """Cross-entropy over the outputs that the task may use; scored by accuracy in [0, 1]."""

    metric = "accuracy"

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return each sample's cross-entropy, ``[n]``."""
        return -output.log_softmax(-1).gather(-1, batch.y.unsqueeze(-1)).squeeze(-1)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Return 1 for each sample whose highest output is its class, else 0, ``[n]``."""
        return (output.argmax(-1) == y).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Regression(Objective):
    """Squared error of one output; scored by its negative, so that higher is better."""

    metric = "negative squared error"

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return each sample's squared error, ``[n]``."""
        return (output.squeeze(-1) - batch.y).square()

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Return each sample's negative squared error, ``[n]``."""
        return -(output.squeeze(-1) - y).square()


@dataclass(frozen=True, eq=False)
class Task:
    """One task of a stream: three disjoint parts, the outputs it uses, and its objective.

    Parameters
    ----------
    name:
        What figures and tables call it.
    train, val, test:
        Disjoint parts. Learning sees ``train``, choices are made on ``val``, scores are on ``test``.
    classes:
        Indices of the model's outputs that hold this task's classes.
    objective:
        What to minimise and how to score.
    """

    name: str
    train: Part
    val: Part
    test: Part
    classes: tuple[int, ...]
    objective: Objective = field(default_factory=Classification)
    info: dict[str, Any] = field(default_factory=dict)

    def map_parts(self, change: Callable[[Part], Part]) -> Task:
        """Return the task with ``change(part)`` in place of each of its three parts."""
        return replace(self, train=change(self.train), val=change(self.val), test=change(self.test))
