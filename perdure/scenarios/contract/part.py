"""Parts: the samples that a task trains, validates or tests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perdure.core.batch import Rows
from perdure.core.tree import forms
from perdure.scenarios.contract.transforms import Bytes


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled samples: the training, validation or test part of a task.

    Parameters
    ----------
    x:
        Inputs, ``[n, ...]``: floating point, token ids (int64), or bytes (uint8) with a ``scale``.
    y:
        Labels, ``[n]`` or ``[n, targets]``: class indices (int64) or real numbers (floating point). In the
        latter NaN is a label that is missing (where it is the only one, in training parts alone), and whole
        numbers may be classes, as the objective says.
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

    def __repr__(self) -> str:
        return f"Part({forms({'x': self.x, 'y': self.y})})"

    def __len__(self) -> int:
        return len(self.y)

    def loaded(self, draws: Tensor | None = None) -> Part:
        """Return the part with its samples in memory, where these are already; ``draws`` augment others."""
        return self

    def inputs(self) -> Tensor:
        """Return the inputs as the model sees them, ``[n, ...]``."""
        x = self.x if self.scale is None else self.scale(self.x)
        return x if self.transform is None else self.transform(x)

    def with_inputs(self, x: Tensor) -> Part:
        """Return the same labels with other inputs ``x [n, ...]``, as the model sees them: features, say.

        What made numbers of the former inputs, ``scale`` and ``transform``, goes with them.
        """
        return Part(x, self.y, self.task)

    def read(self, most: int) -> Iterator[Tensor]:
        """Read the inputs in pieces of at most ``most`` samples, in order."""
        for start in range(0, max(len(self), 1), most):
            yield replace(self, x=self.x[start : start + most]).inputs()

    def example(self) -> Rows:
        """Return one sample as rows ``[1, ...]``."""
        one = self.take(torch.arange(1))
        return {"x": one.inputs(), "y": one.y}

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
