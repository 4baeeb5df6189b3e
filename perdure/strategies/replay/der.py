"""Dark experience replay: replay of what the model said, not only of what was right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, Rows, State, weighted_mean
from perdure.core.checks import MOST_SAMPLES, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import (
    BALANCED_OVER,
    Policy,
    balance,
    came_in,
    check_labels,
    check_policy,
    draw,
    empty,
    join,
    offer,
    outputs_of,
)

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("der")
class DER(Strategy):
    """Keep the outputs on remembered samples near what they were when the samples were stored.

    ``L = mean loss of the incoming batch + alpha / (m O) * sum_i sum_o (h_o(x_i) - z_io)^2`` over a batch of
    m remembered samples x_i with stored outputs z_i before the softmax, O of them each.

    Parameters
    ----------
    capacity:
        Number of samples that the memory holds.
    alpha:
        Weight of the squared distance.
    batch_size:
        Samples drawn at each step, uniformly with replacement; ``None`` draws as many as come in.
    policy:
        ``"reservoir"``: a sample may be stored at each step, with the outputs of the step's own forward
        pass, before the optimiser moves. ``"class"`` or ``"task"``: the memory is filled at the end of each
        task, in equal shares, with the outputs of the trained model in evaluation mode.

    Source: Buzzega et al., NeurIPS 2020, and its code. ``"class"`` is how Avalanche's ``DER`` fills its
    memory. Deviations: incoming and remembered samples go through the model in one pass, which matters to
    batch norm alone; samples are drawn with replacement. In the task setting the outputs of other tasks are
    closed on both sides and differ by 0. Beside a strategy that changes the incoming samples, the memory
    holds them as they came, with the model's outputs for exactly these; the paper's algorithm stores the
    outputs for the augmented sample beside the sample as it came.
    """

    scales: ClassVar[tuple[str, ...]] = ("alpha",)
    capacity: int = 200
    alpha: float = 0.5
    batch_size: int | None = None
    policy: Policy = "reservoir"

    def __post_init__(self) -> None:
        check_whole("capacity", self.capacity)
        if not self.alpha >= 0:
            raise PerdureError(f"alpha must be at least 0; found {self.alpha}")
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, most=MOST_SAMPLES)
        check_policy(self.policy)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        check_labels(self.policy, stream)
        memory = empty(self.capacity, params, stream)
        return {**memory, "logits": next(iter(params.values())).new_zeros(self.capacity, stream.outputs)}

    @property
    def draws(self) -> int:
        """How many independent batches of remembered samples a step takes."""
        return 1

    def drawn(self, state: State, batch: Batch) -> tuple[Rows, Tensor]:
        """Return the remembered samples of this step; asked twice, the same ones."""
        return draw(state, batch.rng, "dark", self.draws * (self.batch_size or batch.fresh))

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        return join(net, batch, *self.drawn(state, batch), counted=False)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        rows, weight = self.drawn(state, batch)
        n = len(weight) // self.draws
        outputs = net(params, batch.x, batch.task)[batch.own][:n]
        distance = (outputs - rows["logits"][:n]).square().mean(-1)
        return losses + self.alpha * weighted_mean(distance, weight[:n]) / len(losses)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if self.policy != "reservoir":
            return params, state
        rows = {**came_in(step), "logits": outputs_of(net, step.previous, step)}
        return params, offer(state, step.batch.rng, rows, step.incoming.sample_weight)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if self.policy == "reservoir":
            return params, state
        rows = task.rows
        memory, new = balance(state, task.rng, rows, BALANCED_OVER[self.policy])
        outputs = net(params, memory["x"], memory["task"])
        return params, {**memory, "logits": torch.where(new.unsqueeze(-1), outputs, memory["logits"])}


@strategy("derpp")
class DERpp(DER):
    """DER++: DER with the labels of remembered samples as well.

    ``L = L_DER + beta * mean loss of a second batch of remembered samples at their labels``.

    Parameters
    ----------
    capacity, alpha, batch_size, policy:
        As in :class:`DER`; ``batch_size`` is that of each of the two draws.
    beta:
        Weight of the loss at the labels.
    shared:
        Take one draw for both terms, as Avalanche does, instead of two independent ones.

    Source: Buzzega et al., NeurIPS 2020. ``derpp(policy="class", shared=True)`` is Avalanche's ``DER``.
    """

    scales: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    alpha: float = 0.1
    beta: float = 0.5
    shared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta >= 0:
            raise PerdureError(f"beta must be at least 0; found {self.beta}")

    @property
    def draws(self) -> int:
        return 1 if self.shared else 2

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        losses = super().losses(net, params, state, batch, losses)
        _, weight = self.drawn(state, batch)
        n = len(weight) // self.draws
        each = net.sample_losses(params, batch)[batch.own][-n:]
        return losses + self.beta * weighted_mean(each, weight[-n:]) / len(losses)
