"""Elastic weight consolidation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.func import grad

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.importance import gradient_powers

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

Fisher = Literal["empirical", "sampled", "batch"]


@strategy("ewc")
class EWC(Strategy):
    """Hold each weight near its value after every earlier task, in proportion to its Fisher information.

    Minimised beside the loss: ``strength / 2 * sum_t sum_k F_t,k (theta_k - theta_t,k)^2`` over the earlier
    tasks t. Its gradient is ``strength * (theta sum_t F_t - sum_t F_t theta_t)``: two sums per weight hold
    all that the separate penalties ask for, so a step costs the same after a hundred tasks as after one.

    Parameters
    ----------
    strength:
        Weight of the penalty. Avalanche leaves out the half: its ``ewc_lambda`` is half of this.
    fisher:
        ``"empirical"``: mean squared gradient of each sample's loss at its label; ``"sampled"``: at a label
        drawn from the model (the Fisher information itself, in expectation); ``"batch"``: squared
        gradients of batch means times the batch size, as in Avalanche, which is biased.
    samples:
        How many training samples of a task the estimate uses; ``None`` for all.

    Source: Kirkpatrick et al., PNAS 2017; separate penalties as there.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength",)
    strength: float = 20.0
    fisher: Fisher = "empirical"
    samples: int | None = None

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise PerdureError(f"strength must be at least 0; found {self.strength}")
        if self.fisher not in ("empirical", "sampled", "batch"):
            raise PerdureError(f"fisher must be 'empirical', 'sampled' or 'batch'; found {self.fisher!r}")
        if self.samples is not None and self.samples < 1:
            raise PerdureError(f"samples must be at least 1; found {self.samples}")

    @property
    def accumulated_samples(self) -> int | None:
        return self.samples

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if self.fisher == "sampled":
            stream.need_classes("fisher='sampled'")
        zeros = {k: torch.zeros_like(p) for k, p in params.items()}
        return {"fisher": zeros, "pull": {k: torch.zeros_like(p) for k, p in params.items()}}

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return {
            k: g + self.strength * (state["fisher"][k] * params[k] - state["pull"][k])
            for k, g in grads.items()
        }

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {"fisher": fisher_sum(net, params, batch, self.fisher), "count": batch.sample_weight.sum()}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        fisher = {k: v / task.accumulated["count"] for k, v in task.accumulated["fisher"].items()}
        total = {k: state["fisher"][k] + f for k, f in fisher.items()}
        pull = {k: state["pull"][k] + f * params[k] for k, f in fisher.items()}
        return params, {"fisher": total, "pull": pull}


@strategy("online-ewc")
class OnlineEWC(EWC):
    """EWC with one penalty: around the latest weights, with a Fisher information that fades.

    ``F <- decay F + F_t``, and the penalty is ``strength / 2 * sum_k F_k (theta_k - theta*_k)^2``.

    Parameters
    ----------
    strength, fisher, samples:
        As in :class:`EWC`.
    decay:
        What is kept of the older tasks' Fisher information at each task's end, in [0, 1].

    Source: Schwarz et al., ICML 2018.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength", "decay")
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise PerdureError(f"decay must lie in [0, 1]; found {self.decay}")

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        count = task.accumulated["count"]
        fisher = {
            k: self.decay * state["fisher"][k] + v / count for k, v in task.accumulated["fisher"].items()
        }
        return params, {"fisher": fisher, "pull": {k: f * params[k] for k, f in fisher.items()}}


def fisher_sum(net: Net, params: Params, batch: Batch, kind: Fisher) -> Params:
    """Return the sum over a batch's samples of the diagonal Fisher information of each weight."""
    if kind == "batch":
        slopes = grad(lambda p: net.losses(p, batch).sum())(params)
        return {k: g.square() * batch.sample_weight.sum() for k, g in slopes.items()}
    if kind == "sampled":
        # Inverse of the cumulative distribution at a uniform number: one draw per sample.
        shares = net(params, batch.x, batch.task).softmax(-1).cumsum(-1)
        u = batch.rng.uniform("label", len(batch), 1, dtype=shares.dtype)
        drawn = (shares < u * shares[:, -1:]).sum(-1)

        batch = batch.with_rows(y=drawn)
    return gradient_powers(net, params, batch, net.surprises, 2)
