"""What boosted trees learn of a task's labels: residuals of squared errors and of cross-entropies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.task import Task

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The labels of one task as columns: one for a real number, one per class for a class.

    Parameters
    ----------
    classes:
        How many classes each label has; 0 for a real number.
    outputs:
        The model's outputs that the columns stand for, ``K`` in all.
    """

    classes: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, task: Task, asker: str) -> Columns:
        """Read them off a task; refuse one that asks for something else."""
        objective, outputs = task.objective, tuple(task.outputs)
        if isinstance(objective, Targets):
            each: Sequence[Objective] = objective.each
            widths: Sequence[int] = objective.outputs
        else:
            each, widths = [objective], [len(outputs)]
        if not all(isinstance(one, (Classification, Regression)) for one in each):
            raise PerdureError(
                f"{asker} learns classes and real numbers; found {objective} in task {task.name!r}"
            )
        classes = tuple(0 if one.real else width for one, width in zip(each, widths, strict=True))
        return cls(classes, outputs[: sum(max(1, c) for c in classes)])

    @property
    def kinds(self) -> str:
        """What the labels are, in words."""
        return ", ".join(f"{c} classes" if c else "a real number" for c in self.classes)

    @property
    def blocks(self) -> list[tuple[int, slice]]:
        """The classes of each label, and its columns."""
        ends = np.cumsum([max(1, c) for c in self.classes]).tolist()
        return [(c, slice(end - max(1, c), end)) for c, end in zip(self.classes, ends, strict=True)]

    def encode(self, y: Tensor) -> tuple[Array, Array]:
        """Return labels as columns, ``[n, K]``, and 1 where they are there, ``[n, K]``; NaN is missing."""
        labels = y.double().reshape(len(y), -1).cpu().numpy()
        there = ~np.isnan(labels)
        codes, found = [], []
        for j, (classes, block) in enumerate(self.blocks):
            # Several labels are counted from 0 each, a single one is the output that it stands for.
            names = np.arange(classes) if len(self.classes) > 1 else np.array(self.outputs[block])
            own = labels[:, j : j + 1]
            codes.append((own == names).astype(np.float64) if classes else np.nan_to_num(own))
            found.append(np.repeat(there[:, j : j + 1], max(1, classes), 1).astype(np.float64))
        return np.concatenate(codes, 1), np.concatenate(found, 1)

    def start(self, y: Array, there: Array) -> Array:
        """Return the constant to start from, ``[K]``: means, and logarithms of ``(n_k + 1) / (n + K)``."""
        values = np.zeros(y.shape[1])
        for classes, block in self.blocks:
            sums, counts = (y * there)[:, block].sum(0), there[:, block].sum(0)
            values[block] = (
                np.log((sums + 1) / (counts + classes)) if classes else sums / np.maximum(counts, 1)
            )
        return values

    def residuals(self, y: Array, there: Array, f: Array) -> Array:
        """Return the losses' negative gradients with respect to ``f``, 0 for missing labels, ``[n, K]``.

        ``y - f`` of ``(y - f)^2 / 2``, ``1[k = y] - softmax(f)_k`` of cross-entropy.
        """
        found = y - f
        for classes, block in self.blocks:
            if classes:
                found[:, block] = y[:, block] - np.exp(_log_softmax(f[:, block]))
        return found * there

    def loss(self, y: Array, there: Array, f: Array) -> float:
        """Return the mean over rows of the losses' sum."""
        total = 0.0
        for classes, block in self.blocks:
            own = y[:, block]
            each = -own * _log_softmax(f[:, block]) if classes else (own - f[:, block]) ** 2 / 2
            total += float((each * there[:, block]).sum())
        return total / max(1, len(y))


def _log_softmax(f: Array) -> Array:
    shifted: Any = f - f.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
