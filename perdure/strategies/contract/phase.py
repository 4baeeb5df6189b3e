"""A stretch of training, and what hooks see of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from perdure.core.batch import Batch, Params, Rows, State
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.core.tree import forms


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Parameters
    ----------
    tasks:
        Indices of the tasks whose training parts are drawn from, together.
    name:
        What hooks see as ``batch.phase``.
    stage:
        Whether all tasks are scored afterwards: a row of the result.
    epochs:
        Passes over the data; ``None`` takes the run's. 0 runs only ``begin_task`` and ``end_task``.
    steps:
        Number of steps instead of epochs.
    batch_per_task:
        Draw one batch per task at each step, each with a loss of its own (multi-task learning). Where the
        tasks share their samples, one batch with a label of each task, ``y [n, tasks]``, unless a strategy
        takes only one label a sample (:attr:`Strategy.reads_all_labels`).
    part:
        Which part of the tasks is drawn from: ``"train"``, or ``"val"``, which a strategy may learn its own
        choices on.
    reset:
        Start with fresh optimiser memory (momentum, moments), as a new run would.
    portion:
        From which to which share of its steps. The portions of a phase, one after the other, are the whole
        phase: same batches, draws and learning rates. ``begin_task`` runs in the one that starts at 0,
        ``end_task`` in the one that stops at 1.
    """

    tasks: tuple[int, ...]
    name: str = "learn"
    stage: bool = True
    epochs: int | None = None
    steps: int | None = None
    batch_per_task: bool = False
    part: str = "train"
    reset: bool = False
    portion: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.part not in ("train", "val"):
            raise PerdureError(f"part must be 'train' or 'val'; found {self.part!r}")
        if not 0 <= self.portion[0] < self.portion[1] <= 1:
            raise PerdureError(f"portion must be (start, stop) in [0, 1]; found {self.portion}")


@dataclass(frozen=True, eq=False)
class TaskData:
    """What ``begin_task`` and ``end_task`` see of a phase: its training data and its place in the stream.

    Parameters
    ----------
    index:
        Index of the (last) task of the phase, a Python integer.
    rows:
        The training samples by name, as in a :class:`perdure.core.batch.Batch`: inputs ``x [n, ...]``, labels
        ``y [n]`` and the ``task [n]`` of each, and what a world or a memory adds.
    outputs:
        Outputs that the task uses, ``[outputs]`` bool.
    rng:
        Random numbers of this moment.
    phase:
        The phase.
    accumulated:
        At the end of a phase, the sums of what the strategy's ``accumulate`` returned.
    """

    index: int
    rows: Rows
    outputs: Tensor
    rng: Rng
    phase: Phase
    accumulated: State

    def __repr__(self) -> str:
        return f"TaskData(index={self.index}, {forms(self.rows)})"

    def __len__(self) -> int:
        return len(self.rows["y"])

    @property
    def x(self) -> Tensor:
        """Inputs, ``[n, ...]``."""
        return self.rows["x"]

    @property
    def y(self) -> Tensor:
        """Labels, ``[n]`` or ``[n, targets]``."""
        return self.rows["y"]

    @property
    def task(self) -> Tensor:
        """The task of each sample, ``[n]`` int64."""
        return self.rows["task"]


@dataclass(frozen=True, eq=False)
class Step:
    """What ``after_step`` sees.

    Parameters
    ----------
    batch:
        What was learned from.
    previous:
        The parameters before the step.
    grads:
        The gradient taken.
    came:
        The batch as it was before any strategy's ``batch``.
    of_each:
        The gradient of each entry of the loss vector, ``[entries, ...]``, where a strategy asked for it
        (``per_loss_gradients``). The losses themselves are ``batch.losses``.
    """

    batch: Batch
    previous: Params
    grads: Params
    came: Batch | None = None
    of_each: Params | None = None

    @property
    def incoming(self) -> Batch:
        """The samples as they came from the stream, whatever strategies made of them: what memories hold."""
        return self.batch.head() if self.came is None else self.came
