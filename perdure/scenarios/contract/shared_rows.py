"""Tasks of the same samples, each with a label of its own: learned from rows that hold all labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.batch import Batch
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task


@dataclass(frozen=True, repr=False)
class SharedRows(Targets):
    """The objectives of tasks that share their rows: label j of a sample is that of the j-th task.

    Parameters
    ----------
    columns:
        Outputs of the model that the tasks read, those of one task behind those of the other.
    """

    columns: tuple[int, ...]

    def _stack(
        self, output: Tensor, batch: Batch, function: Callable[[Objective, Tensor, Batch], Tensor]
    ) -> Tensor:
        if self.columns != tuple(range(output.shape[-1])):
            output = output.index_select(-1, torch.tensor(self.columns, device=output.device))
        return super()._stack(output, batch, function)


def shared_rows(stream: Stream, tasks: Sequence[int], which: str) -> tuple[Part, SharedRows] | None:
    """Return the samples that tasks share, with a label of each, ``y [n, tasks]``, and what they ask for.

    ``None`` where they do not share their samples, or outputs, or have several labels each. Labels that are
    missing are NaN; classes are counted from the first of a task's outputs.

    Parameters
    ----------
    stream, tasks:
        Which tasks.
    which:
        Which of their parts: ``"train"`` or ``"val"``.

    Examples
    --------
    >>> from perdure.testing import tiny_stream
    >>> shared_rows(tiny_stream("task"), [0, 1], "train") is None
    True
    """
    chosen = [stream[t] for t in tasks]
    parts = [getattr(task, which) for task in chosen]
    columns = tuple(c for task in chosen for c in task.outputs)
    if len(chosen) < 2 or len(set(columns)) < len(columns) or not all(_plain(task) for task in chosen):
        return None
    if not all(type(part) is Part and part.task is None for part in parts):
        return None
    if len({inputs_key(part) for part in parts}) > 1:
        return None
    labels = torch.stack([_labels(*one) for one in zip(chosen, parts, strict=True)], 1)
    objectives, widths = zip(*((task.objective, len(task.outputs)) for task in chosen), strict=True)
    first = parts[0]
    return Part(first.x, labels, None, first.transform, first.scale), SharedRows(objectives, widths, columns)


def inputs_key(part: Part) -> tuple[Any, ...]:
    """Tell what the inputs of a part are: of two that are there, those with one key have the very same."""
    x = part.x
    return x.data_ptr(), x.shape, x.stride(), x.dtype, id(part.transform), part.scale


def _plain(task: Task) -> bool:
    """Tell whether a task has one label a sample, and reads its outputs side by side."""
    run = tuple(range(task.outputs[0], task.outputs[0] + len(task.outputs))) if task.outputs else ()
    fits = task.objective.reads in (None, len(task.outputs))
    return task.objective.targets == 1 and fits and task.outputs == run and bool(run)


def _labels(task: Task, part: Part) -> Tensor:
    """Return labels as real numbers, as rows of several labels keep them; classes from the task's first."""
    if task.objective.reads is not None:
        return part.y.to(torch.float32)
    return (part.y - task.outputs[0]).to(torch.float32)
