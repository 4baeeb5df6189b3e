"""Rules that look at samples of the tasks so far before they merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.scenarios.contract.task import samples
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.merging.rule import Rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

# What makes of a rule's numbers the whole model: merged weights, heads and all.
Model = Callable[[Params], Params]


class Fitted(Rule):
    """A rule with numbers of its own that come from samples, in steps of a phase after each task.

    What it keeps meanwhile is a dictionary of tensors of fixed shapes, ``fit``; under ``"values"`` are the
    numbers that :meth:`build` merges with. Subclasses have the fields ``steps`` (how many steps, of batches
    of the run's size that mix the tasks) and ``part`` (which part of the tasks the samples are of).
    """

    steps: int
    part: Literal["val", "train"]

    def check(self, stream: Stream) -> None:
        """Refuse a stream that the rule cannot be fitted on: worlds."""
        for task in stream:
            samples(getattr(task, self.part))

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        """Return ``fit`` before the first step, for so many tasks and inputs of this shape."""
        raise PerdureError(f"{type(self).__name__} does not say how to begin: override `begin`")

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        """Return ``fit`` after a step.

        Parameters
        ----------
        net, params:
            The model in evaluation mode, and what it holds now.
        tasks:
            Weights of each task's model, ``[T, ...]`` by name; of tasks to come, those of the start.
        fit:
            What is kept.
        model:
            What makes of ``values`` the whole model.
        batch:
            The samples.
        """
        raise PerdureError(f"{type(self).__name__} does not say how to learn: override `learn`")

    def conclude(self, net: Net, fit: State, model: Model, task: TaskData) -> State:
        """Return ``fit`` after the last step; ``task`` holds all samples that were drawn from."""
        return fit

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        """Return the merged weights at some values."""
        raise PerdureError(f"{type(self).__name__} does not say how to merge: override `build`")

    def heads(self, heads: Params, owner: Tensor, values: Params) -> Params:
        """Return what the tasks' heads are on the merged model.

        Parameters
        ----------
        heads:
            Parameters of the head, ``[outputs, ...]``: each row comes from the model of the task it is of.
        owner:
            The task that each row is of, ``[outputs]``; -1 for rows of several tasks, which are merged.
        values:
            As in :meth:`build`.
        """
        return heads

    def report(self, fit: State) -> State:
        """Return what results are to keep, as :meth:`Strategy.report` does."""
        return {}
