"""Learners: what cannot be written as pure functions of one model and mapped over replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.strategies.contract.strategy import Strategy


@dataclass(frozen=True, eq=False)
class Terms:
    """What a learner is asked to keep to, the same as the mapped strategies get.

    Parameters
    ----------
    model:
        The untrained module, drawn as for the mapped strategies; torch's generator is seeded.
    seed, epochs, batch_size, lr, weight_decay:
        As in ``compare``.
    optimizer:
        Builds a torch optimiser from parameters.
    device:
        Where to run.
    """

    model: nn.Module
    seed: int
    epochs: int
    batch_size: int
    optimizer: Callable[[Any], torch.optim.Optimizer]
    device: torch.device


class Learner(Protocol):
    """One seed's learner: a class of your own with these two methods will do.

    It may have two more. ``report()`` returns tensors by name, the same names for every seed, which results
    keep as they keep what :meth:`Strategy.report` returns, under the strategy's name.
    ``count_parameters()`` says at the end how many numbers were learned, where it is not the model given
    that learned.
    """

    def learn(self, task: Task, index: int) -> None:
        """Learn the next task, or several at once: ``task.train.task`` then says whose each sample is."""

    def predict(self, x: Tensor, index: int) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs of the task with that index."""


@dataclass(frozen=True)
class External(Strategy):
    """A strategy that makes a :class:`Learner` per seed; the experiment loops over the seeds.

    Of its ``phases`` only ``tasks`` and ``stage`` count: a phase over all tasks makes it learn them at once.
    """

    name: ClassVar[str] = "external"
    runs_alone: ClassVar[bool] = True

    def check(self, stream: Stream) -> None:
        """Refuse a stream that cannot be learned, before any work."""

    def start(self, stream: Stream, terms: Terms) -> Learner:
        """Return a fresh learner."""
        raise PerdureError(f"{type(self).__name__} does not say what learns: override `start`")
