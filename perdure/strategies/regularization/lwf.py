"""Learning without forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import CLOSED, Batch, Params, State, weighted_mean
from perdure.core.errors import PerdureError
from perdure.core.net import Net, takes_task
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("lwf")
class LwF(Strategy):
    """Keep answering the current inputs as the model of the last task's end did (distillation).

    Added to the loss: ``strength * sum_h mean_i KL(softmax(z'_ih / T) || softmax(z_ih / T))``, where z are
    the outputs, z' those of the model kept from the last task's end, T the temperature and h a head. Where
    tasks have outputs of their own (task-incremental), every earlier task is a head, on its own outputs.
    Elsewhere there is one head: the outputs of all classes seen before this task. Zero on the first task.

    A model whose ``forward`` takes the task is run once more per task of the stream; any other costs one more
    forward pass, of the kept model.

    Parameters
    ----------
    strength:
        Weight of the distillation.
    temperature:
        T; softens both distributions.

    Source: Li & Hoiem, ECCV 2016. As in Avalanche (``LwF(alpha=strength, temperature=temperature)``) there is
    no factor T^2, and the divergence is the mean over the batch's samples and the sum over heads. The paper
    takes the cross-entropy, whose gradient is the same. The kept model is in evaluation mode, as when the
    paper records its answers; Avalanche's stays in training mode, which matters for batch norm and dropout.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength", "temperature")
    strength: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise PerdureError(f"strength must be at least 0; found {self.strength}")
        if not self.temperature > 0:
            raise PerdureError(f"temperature must be positive; found {self.temperature}")

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        stream.need_classes(self.name)
        rows = 1 if net.masks is None else len(stream)
        device = next(iter(params.values())).device
        return {
            "params": {k: p.clone() for k, p in params.items()},
            "buffers": {k: b.clone() for k, b in net.buffers.items()},
            "heads": torch.zeros(rows, stream.outputs, dtype=torch.bool, device=device),
        }

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        kept = net.eval(state["buffers"])
        before, now = _outputs(kept, state["params"], batch), _outputs(net, params, batch)
        heads = state["heads"].unsqueeze(1)
        apart = divergence(before, now, heads, self.temperature)
        penalty = self.strength * weighted_mean(apart.sum(0), batch.sample_weight)
        # Shared by the losses of the batch's own samples, not by what other strategies appended.
        share = (torch.arange(len(losses), device=losses.device) < batch.entries) / batch.entries
        return losses + share.to(losses.dtype) * penalty

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        heads = state["heads"]
        if net.masks is None:
            new = task.outputs.unsqueeze(0)
        else:
            learned = torch.zeros(len(heads), 1, dtype=torch.bool, device=heads.device)
            learned[list(task.phase.tasks)] = True
            new = learned & net.masks
        return params, {"params": dict(params), "buffers": dict(net.buffers), "heads": heads | new}


def _outputs(net: Net, params: Params, batch: Batch) -> Tensor:
    """Return what every head says of the batch, ``[heads or 1, n, outputs]``."""
    if net.masks is None or not takes_task(net.module):
        return net.raw(params, batch.x, batch.task).unsqueeze(0)
    tasks = torch.arange(len(net.masks), device=batch.x.device)
    return torch.stack([net.raw(params, batch.x, t) for t in tasks.unbind()])


def divergence(before: Tensor, now: Tensor, among: Tensor, temperature: float) -> Tensor:
    """KL divergence of softened outputs ``now`` from ``before``, ``[...]``, over the last axis.

    Only outputs where ``among`` is true take part; where none does, it is 0.
    """
    p = (before / temperature).masked_fill(~among, CLOSED).log_softmax(-1)
    q = (now / temperature).masked_fill(~among, CLOSED).log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)
