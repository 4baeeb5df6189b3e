"""Gradients of like lengths."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.learned import descend, start
from perdure.strategies.parts.balancing import Needs, Rule, balancing_rule


@balancing_rule("gradnorm")
class GradNorm(Rule):
    """Weigh losses so that their gradients at the last shared layer are alike, longer where a task lags.

    With n_t the length of task t's gradient there, ``G_t = w_t n_t``, and the relative rate
    ``r_t = (L_t / L_t(0)) / mean_s (L_s / L_s(0))``, L(0) the losses of the first step: the weights follow
    the slope of ``sum_t |G_t - target_t|``, the target ``mean(G) r_t^alpha`` taken as given. They sum to T.

    Parameters
    ----------
    alpha:
        How strongly a task that lags is favoured: 0 asks for gradients of one length. The paper takes 1.5
        for real data, 0.12 for its toy problem.
    lr:
        Learning rate of the weights.

    Source: Chen et al., ICML 2018. Deviations: the paper steps on w and scales it to sum to T, and w may
    become negative where gradients differ a thousandfold; here ``w = T softmax(v)``, and v takes the steps
    (of Adam).
    """

    needs: ClassVar[Needs] = "last layer"
    alpha: float = 1.5
    lr: float = 0.025

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha)
        check_number("lr", self.lr, ends="()")

    def init(self, tasks: int, like: Tensor) -> State:
        return {**start(tasks, like), "first": like.new_zeros(tasks, dtype=torch.float64)}

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        weights: Tensor = len(losses) * torch.softmax(state["value"], -1)
        return weights

    def update(self, gram: Tensor, losses: Tensor, after: Tensor, state: State) -> State:
        first = torch.where(state["memory"]["count"] == 0, losses, state["first"])
        rate = losses / first.clamp_min(1e-12)
        rate = rate / rate.mean().clamp_min(1e-12)
        length = gram.diagonal().sqrt()
        share = torch.softmax(state["value"], -1)
        weighed = len(losses) * share * length
        slope = weighed * torch.sign(weighed - weighed.mean() * rate**self.alpha)
        # Down to v: dw_s / dv_t = w_s (1[s = t] - share_t).
        slope = slope - share * slope.sum()
        return {**descend(state, slope, self.lr), "first": first}
