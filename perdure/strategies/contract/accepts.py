"""What a trained model takes: inputs, tasks and streams like those that were learned."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Fits:
    """What the stream that was learned was like.

    Parameters
    ----------
    shape:
        Shape of one input.
    whole:
        Whether inputs are whole numbers (token ids); rows of these may have another length.
    tasks, outputs:
        Number of tasks, and width of the output.
    objective:
        Name of the objective's class.
    """

    shape: tuple[int, ...]
    whole: bool
    tasks: int
    outputs: int
    objective: str

    @classmethod
    def of(cls, stream: Stream) -> Fits:
        """Describe a stream."""
        whole = not stream.example()["x"].is_floating_point()
        objective = type(stream[0].objective).__name__
        return cls(stream.input_shape, whole, len(stream), stream.outputs, objective)

    def inputs(self, x: Any) -> Tensor:
        """Return inputs ``[n, ...]`` as a tensor; refuse what is not like the inputs that were learned."""
        try:
            found = torch.as_tensor(x)
        except (TypeError, ValueError, RuntimeError):
            given = type(x).__name__
            raise PerdureError(f"expected inputs as a tensor or an array of numbers; found {given}") from None
        shape = tuple(found.shape[1:])
        same = shape == self.shape
        if self.whole:
            same = len(shape) == len(self.shape) and shape[:-1] == self.shape[:-1]
        if found.ndim == 0 or not same or not found.numel():
            raise PerdureError(
                f"expected inputs of shape [n{''.join(f', {s}' for s in self.shape)}], n at least 1; "
                f"found {list(found.shape)}"
            )
        _check_kind(found, self.whole)
        return found.long() if self.whole else found

    def tasks_of(self, task: Any, n: int) -> Tensor:
        """Return the task of each of ``n`` inputs, ``[n]`` int64: of one index, or of as many."""
        try:
            found = torch.as_tensor(task)
        except (TypeError, ValueError, RuntimeError):
            raise PerdureError(f"task must be an index or one for each input; found {task!r}") from None
        if found.dtype == torch.bool or found.is_floating_point() or found.is_complex():
            raise PerdureError(f"task must be a whole number, or whole numbers; found {task!r}")
        if found.ndim > 1 or (found.ndim == 1 and len(found) != n):
            raise PerdureError(
                f"task must be an index or [{n}], one for each input; found {list(found.shape)}"
            )
        for one in found.reshape(-1)[((found < 0) | (found >= self.tasks)).reshape(-1)][:1].tolist():
            raise PerdureError(f"expected a task in [0, {self.tasks}); found {one}")
        return found.long().expand(n)

    def check(self, stream: Any, part: str, at_most: bool) -> None:
        """Refuse a stream that the model was not made for.

        Parameters
        ----------
        stream:
            What is to be scored.
        part:
            Which part of its tasks.
        at_most:
            Whether there may be no more tasks than were learned.
        """
        if not isinstance(stream, Stream):
            raise PerdureError(f"expected a Stream; found {type(stream).__name__}")
        if not isinstance(part, str) or part not in PARTS:
            raise PerdureError(f"part must be one of {', '.join(PARTS)}; found {part!r}")
        if stream.outputs != self.outputs:
            raise PerdureError(f"expected a stream of {self.outputs} outputs; found {stream.outputs}")
        if at_most and len(stream) > self.tasks:
            raise PerdureError(f"expected a stream of at most {self.tasks} tasks; found {len(stream)}")
        for task in stream:
            found, data = type(task.objective).__name__, getattr(task, part)
            if found != self.objective:
                raise PerdureError(f"expected tasks of the objective {self.objective}; found {found}")
            if isinstance(data, World):
                where = f"the {part} part of {task.name!r}"
                raise PerdureError(f"expected a stream of samples; {where} is a world")
            if not len(data):
                raise PerdureError(f"the {part} part of task {task.name!r} is empty")
            self.inputs(data.example()["x"])
            low, high = data.y.min(), data.y.max()
            if not data.y.is_floating_point() and not 0 <= low <= high < self.outputs:
                raise PerdureError(f"expected labels in [0, {self.outputs}); found {int(low)} to {int(high)}")


def _check_kind(x: Tensor, whole: bool) -> None:
    """Refuse whole numbers where others were learned, and the other way round."""
    numbers, found = not (x.is_floating_point() or x.is_complex()), str(x.dtype).removeprefix("torch.")
    if whole and (not numbers or x.dtype == torch.bool):
        raise PerdureError(f"expected token ids, whole numbers; found {found}")
    if not whole and not x.is_floating_point():
        raise PerdureError(f"expected inputs of floating point, scaled as those learned; found {found}")


def check_index(what: str, value: Any, count: int) -> int:
    """Return a whole number in ``[0, count)``; refuse any other value."""
    try:
        index = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        index = -1
    if not 0 <= index < count:
        raise PerdureError(f"expected {what} in [0, {count}); found {value!r}")
    return index
