"""Rules with numbers of their own that are learned from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State, weighted_mean
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.optim.adam import Adam
from perdure.strategies.merging.fitted import Fitted, Model
from perdure.strategies.merging.rule import count, vectors


@dataclass(frozen=True, repr=False)
class Learned(Fitted):
    """A rule whose coefficients are learned after each task, on samples of the tasks so far.

    ``theta_0 + sum_t c_t tau_t``, with a coefficient for each task, or for each task and parameter. Weights
    stay as they are; the coefficients follow Adam, in steps and batches of a phase of their own.

    Parameters
    ----------
    steps:
        How many steps, of batches of the run's size that mix the tasks.
    lr:
        Adam's learning rate, whatever the run's.
    initial:
        What each coefficient is before the first step. They start anew after each task.
    part:
        Which part of the tasks the samples are of: ``"val"`` or ``"train"``.
    """

    steps: int = 100
    lr: float = 1e-3
    initial: float = 0.3
    part: Literal["val", "train"] = "val"

    def __post_init__(self) -> None:
        check_whole("steps", self.steps)
        check_number("lr", self.lr, ends="()")
        check_number("initial", self.initial)

    def coefficients(self, base: Params, tasks: int) -> Params:
        """Return the coefficients before the first step, ``[tasks]`` by the name of the parameter."""
        return {k: v.new_full((tasks,), self.initial) for k, v in base.items()}

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        return fresh(self.coefficients(base, tasks))

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        def loss(values: Params) -> Tensor:
            return self.loss(net, model(values), batch)

        slope, lr = torch.func.grad(loss)(fit["values"]), batch.weight.new_tensor(self.lr)
        values, memory = Adam().update(fit["values"], slope, fit["memory"], lr, None)
        return {**fit, "values": values, "memory": memory}

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        own = vectors(base, tasks)
        return {k: v + torch.tensordot(values[k], own[k], 1) for k, v in base.items()}

    def loss(self, net: Net, params: Params, batch: Batch) -> Tensor:
        """Return what the coefficients are to make small on a batch, 0-d."""
        raise PerdureError(f"{type(self).__name__} does not say what it learns: override `loss`")

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        """Return what the models merge to before anything is learned."""
        return self.build(base, tasks, self.coefficients(base, count(tasks)))


def fresh(values: Params) -> State:
    """Return values before the first step, and an optimiser that remembers nothing."""
    return {"values": values, "memory": Adam().init(values)}


def entropy(net: Net, params: Params, batch: Batch) -> Tensor:
    """Return the mean entropy of the answers to a batch, in nats: no label is read."""
    logs = net(params, batch.x, batch.task).log_softmax(-1)
    return weighted_mean(-(logs.exp() * logs).sum(-1), batch.sample_weight)
