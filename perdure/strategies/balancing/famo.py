"""Losses that fall at the same rate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.learned import descend, start
from perdure.strategies.parts.balancing import Needs, Rule, balancing_rule

# Added to losses, whose logarithm is taken.
SMALL = 1e-8


@balancing_rule("famo")
class FAMO(Rule):
    """Let all losses fall by the same factor, from the losses alone.

    With ``z = softmax(v)`` the weights are ``w_t = c z_t / L_t``, ``c = 1 / sum_t (z_t / L_t)``: the slope of
    ``c sum_t z_t log L_t`` is ``sum_t w_t g_t``. After the step the same samples' losses tell which fell
    least, and v, 0 at first, takes a step of Adam down the slope of
    ``sum_t z_t (log L_t before - log L_t after)``.

    Weights sum to 1. Losses must be positive. Each step costs one more forward pass.

    Parameters
    ----------
    lr:
        Learning rate of v.
    decay:
        Weight decay of v, added to its slope.

    Source: Liu et al., NeurIPS 2023. Deviations: none of the paper; its code decays v less, by 1e-5.
    """

    needs: ClassVar[Needs] = "losses"
    looks_after: ClassVar[bool] = True
    lr: float = 0.025
    decay: float = 1e-3

    def __post_init__(self) -> None:
        check_number("lr", self.lr, ends="()")
        check_number("decay", self.decay)

    def init(self, tasks: int, like: Tensor) -> State:
        return start(tasks, like)

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        share = torch.softmax(state["value"], -1) / (losses + SMALL)
        return share / share.sum()

    def update(self, gram: Tensor, losses: Tensor, after: Tensor, state: State) -> State:
        fell = (losses + SMALL).log() - (after + SMALL).log()
        z = torch.softmax(state["value"], -1)
        return descend(state, z * (fell - (z * fell).sum()), self.lr, self.decay)
