"""L2P: a pool of prompts for a frozen transformer, chosen for each input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from perdure.core.batch import CLOSED, Batch, Params, State, weighted_mean
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters.prompted import Prompted, cosines, prompted
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("l2p")
class L2P(Strategy):
    """Freeze a transformer; learn prompts that each input chooses from a pool, their keys, and the head.

    Prompt i is ``P_i [length, width]`` with a key ``k_i [width]``. The query ``q(x)`` is what the frozen
    model makes of the tokens alone. The ``top`` prompts K(x) with the smallest ``1 - cos(q(x), k_i)`` stand
    before the tokens; the mean of the outputs at their places goes into the head. Minimised:

    ``loss + strength * mean_x sum_{i in K(x)} (1 - cos(q(x), k_i))``

    The task need not be known. Rows of what is trained (a prompt, a key, an output of the head) that get no
    gradient in a step do not move in it, whatever the optimiser: prompts that a task never chooses, and with
    ``mask`` the other tasks' outputs, stay to the bit.

    The model must be one of :func:`perdure.models.encoder` (``model="encoder"``). Each step takes a forward
    pass more, of the frozen model; with ``diversify`` a second one may come to it, for the counts.

    Parameters
    ----------
    pool:
        Number of prompts.
    length:
        Vectors in a prompt.
    top:
        How many prompts an input gets; at most ``pool``.
    strength:
        Weight of the distances, which pull keys to the queries that choose them.
    mask:
        Whether only the classes of the task at hand compete in the loss of its samples. For samples from a
        memory all classes do. No effect where the tasks share their classes.
    diversify:
        In training, multiply the distance to key i by ``(1 + c_i) / sum_j (1 + c_j)``, where ``c_i`` (the
        state's ``counts``) is how often it was chosen in earlier tasks: later ones turn to other prompts.
    batchwise:
        Let the samples of a task that are seen together vote, and give all of them the ``top`` prompts with
        the most votes, in training and scoring. **It leaks**: when scoring, a sample's answer depends on
        the other test samples of its task, which tell what task it is from. For comparison only.

    Source: Wang et al., "Learning to prompt for continual learning", CVPR 2022, arXiv 2112.08654, and its
    code. Reconstructed: the ``1 +`` in ``diversify`` (its authors' code has no such penalty, and how the
    paper normalises it was not found). Deviations: see docs/methods.md.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength",)
    pool: int = 10
    length: int = 5
    top: int = 5
    strength: float = 0.5
    mask: bool = True
    diversify: bool = False
    batchwise: bool = False

    def __post_init__(self) -> None:
        for name in ("pool", "length", "top"):
            check_whole(name, getattr(self, name))
        if self.top > self.pool:
            raise PerdureError(f"top must be at most {self.pool}, the number of prompts; found {self.top}")
        if not self.strength >= 0:
            raise PerdureError(f"strength must be at least 0; found {self.strength}")

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        tasks = len(stream) if self.batchwise else None
        (tokens,) = stream.input_shape if len(stream.input_shape) == 1 else (1,)
        return prompted(model, self.pool, self.length, self.top, tasks=tasks, tokens=tokens)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        like = net.buffers["penalty"]
        return {
            "classes": torch.ones(stream.outputs, dtype=torch.bool, device=like.device),
            "counts": torch.zeros_like(like, dtype=torch.int64),
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        state = {**state, "classes": task.outputs.clone()}
        if not self.diversify:
            return params, state
        used = (1 + state["counts"]).to(net.buffers["penalty"].dtype)
        return {**params, "penalty": used / used.sum()}, state

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        return [k for k in params if k in ("prompts", "keys") or k.startswith("head.")]

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        if not self.batchwise:
            return batch
        # Samples that do not count must not vote either: they become padding throughout.
        return batch.with_rows(x=batch.x * (batch.sample_weight > 0).unsqueeze(1))

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        near, chosen = _choice(net, params, batch)
        more = self.strength * weighted_mean(((1 - near) * chosen).sum(-1), batch.sample_weight)
        if self.mask and not batch.y.is_floating_point():
            # Not those of a memory, nor of other tasks' classes (streams with soft boundaries).
            fresh = torch.arange(len(batch), device=losses.device) < batch.fresh
            own = (fresh & state["classes"].index_select(0, batch.y)).unsqueeze(1)
            masked = net(params, batch.x, batch.task).masked_fill(own & ~state["classes"], CLOSED)
            change = net.objective.loss(masked, batch) - net.sample_losses(params, batch)
            more = more + weighted_mean(change, batch.sample_weight)
        share = (torch.arange(len(losses), device=losses.device) < batch.entries) / batch.entries
        return losses + share.to(losses.dtype) * more

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        new = dict(params)
        for k in self.trainable(net, params, step.batch.phase):
            still = (step.grads[k] == 0).view(len(params[k]), -1).all(1)
            new[k] = torch.where(still.view(-1, *(1,) * (params[k].ndim - 1)), step.previous[k], params[k])
        if not self.diversify:
            return new, state
        _, chosen = _choice(net, step.previous, step.batch)
        counted = (chosen & (step.batch.sample_weight > 0).unsqueeze(1)).sum(0)
        return new, {**state, "counts": state["counts"] + counted}


def _choice(net: Net, params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the cosines of a training batch with the keys, and what it chooses, as the model does."""
    module, tensors = net.module, {**net.buffers, **params}
    if not isinstance(module, Prompted):
        raise PerdureError(f"l2p must be the last to wrap the model; found {type(module).__name__} around it")
    body = {k.removeprefix("body."): v for k, v in tensors.items() if k.startswith("body.")}
    near = cosines(functional_call(module.body, body, (batch.x,)), tensors["keys"])
    return near, module.choose(near.detach(), batch.x, batch.task, tensors["penalty"])
