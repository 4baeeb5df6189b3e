"""Weights by the uncertainty of each task's labels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.learned import descend, start
from perdure.strategies.parts.balancing import Needs, Rule, balancing_rule


@balancing_rule("uncertainty")
class Uncertainty(Rule):
    """Learn how noisy each task is, and weigh its loss by that.

    Minimised over the model and ``s [T]``, s_t the logarithm of task t's variance, 0 at first, is
    ``sum_t exp(-s_t) L_t / 2 + s_t / 2``: weights are ``exp(-s_t) / 2``, and each step s takes a step of Adam
    down its own slope, ``(1 - exp(-s_t) L_t) / 2``. At rest ``exp(s_t) = L_t``: every weighted loss is 1 / 2.

    Parameters
    ----------
    lr:
        Learning rate of s.

    Source: Kendall et al., CVPR 2018. Deviations: s has an optimiser and a learning rate of its own, the
    same whatever the model is trained with.
    """

    needs: ClassVar[Needs] = "losses"
    lr: float = 0.01

    def __post_init__(self) -> None:
        check_number("lr", self.lr, ends="()")

    def init(self, tasks: int, like: Tensor) -> State:
        return start(tasks, like)

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        weights: Tensor = 0.5 * (-state["value"]).exp()
        return weights

    def update(self, gram: Tensor, losses: Tensor, after: Tensor, state: State) -> State:
        return descend(state, 0.5 * (1.0 - (-state["value"]).exp() * losses), self.lr)
