"""Weights by how fast each loss falls."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.random import Rng
from perdure.strategies.parts.balancing import Needs, Rule, balancing_rule


@balancing_rule("dwa")
class DWA(Rule):
    """Dynamic weight average: the slower a loss has been falling, the more it counts.

    With r_t the mean loss of task t over the last window of steps, divided by that of the window before:
    ``w = T softmax(r / temperature)``. In the first two windows all weights are 1. Weights sum to T.

    Parameters
    ----------
    temperature:
        The higher, the more equal the weights.
    every:
        Length of a window in steps.

    Source: Liu et al., CVPR 2019. Deviations: the paper's windows are epochs.
    """

    needs: ClassVar[Needs] = "losses"
    temperature: float = 2.0
    every: int = 100

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, ends="()")
        check_whole("every", self.every)

    def init(self, tasks: int, like: Tensor) -> State:
        zero = like.new_zeros(tasks, dtype=torch.float64)
        count = torch.zeros((), dtype=torch.int64, device=like.device)
        # Windows of mean 1 before the first: the ratio is the same for all.
        return {"sum": zero, "last": torch.ones_like(zero), "before": torch.ones_like(zero), "steps": count}

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        ratio = state["last"] / state["before"].clamp_min(1e-12)
        known = state["steps"] >= 2 * self.every
        weights: Tensor = len(losses) * torch.softmax(ratio / self.temperature, -1)
        return torch.where(known, weights, 1.0)

    def update(self, gram: Tensor, losses: Tensor, after: Tensor, state: State) -> State:
        steps, total = state["steps"] + 1, state["sum"] + losses
        full = steps % self.every == 0
        return {
            "sum": torch.where(full, 0.0, total),
            "last": torch.where(full, total / self.every, state["last"]),
            "before": torch.where(full, state["last"], state["before"]),
            "steps": steps,
        }
