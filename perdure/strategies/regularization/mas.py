"""Memory aware synapses."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import CLOSED, Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.importance import gradient_powers


@strategy("mas")
class MAS(Strategy):
    """Hold each weight by how much the outputs react to it; labels are not needed.

    At the end of task t, ``N_k = mean_i |d ||f(x_i)||^2 / d theta_k|`` over its training samples, and the
    importances become ``Omega + N``. Minimised beside the loss: ``strength * sum_k Omega_k (theta_k -
    theta*_k)^2`` with theta* the weights after the last task. Only outputs that may compete on a
    sample's task count in its norm.

    Parameters
    ----------
    strength:
        Weight of the penalty (lambda in the paper). A step of SGD overshoots where ``lr * strength * Omega``
        is above 1.
    alpha:
        ``None`` sums importances over tasks. A number in [0, 1] keeps that share of the older ones,
        ``alpha Omega + (1 - alpha) N``; the first task's count whole.
    samples:
        How many training samples of a task the estimate uses; ``None`` for all.

    Source: Aljundi et al., ECCV 2018 (the global variant, eq. 2). Avalanche's ``MAS(lambda_reg, alpha)``
    averages as ``alpha`` here does (its default is 0.5), but over absolute gradients of batch means, in which
    samples cancel each other, and with the model in training mode; the sum here is exact.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength", "alpha")
    strength: float = 0.03
    alpha: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise PerdureError(f"strength must be at least 0; found {self.strength}")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise PerdureError(f"alpha must lie in [0, 1] or be None; found {self.alpha}")
        if self.samples is not None and self.samples < 1:
            raise PerdureError(f"samples must be at least 1; found {self.samples}")

    @property
    def accumulated_samples(self) -> int | None:
        return self.samples

    def init(self, net: Net, params: Params, stream: object) -> State:
        first = next(iter(params.values()))
        return {
            "importance": {k: torch.zeros_like(p) for k, p in params.items()},
            "anchor": {k: p.clone() for k, p in params.items()},
            "tasks": torch.zeros((), dtype=torch.int64, device=first.device),
        }

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return {
            k: g + 2 * self.strength * state["importance"][k] * (params[k] - state["anchor"][k])
            for k, g in grads.items()
        }

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        sums = gradient_powers(net, params, batch, squared_norm, 1)
        return {"importance": sums, "count": batch.sample_weight.sum()}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        new = {k: v / task.accumulated["count"] for k, v in task.accumulated["importance"].items()}
        tasks = state["tasks"]
        if self.alpha is not None:
            # The first task's count whole.
            total = {
                k: torch.where(tasks == 0, v, self.alpha * state["importance"][k] + (1 - self.alpha) * v)
                for k, v in new.items()
            }
        else:
            total = {k: state["importance"][k] + v for k, v in new.items()}
        return params, {"importance": total, "anchor": dict(params), "tasks": tasks + 1}


def squared_norm(output: Tensor, batch: Batch) -> Tensor:
    """Squared length of each sample's outputs, ``[n]``; closed outputs do not count."""
    return output.masked_fill(output == CLOSED, 0.0).square().sum(-1)
