"""Gradient episodic memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.func import grad

from perdure.core.batch import Batch, Params, State, weigh
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import empty
from perdure.strategies.parts.nonnegative import nonnegative

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("gem")
class GEM(Strategy):
    """Take the nearest gradient that raises the loss on the memory of no past task, to first order.

    With g the gradient of the step and G the gradients on the memories of the past tasks, one a row: where
    ``G g`` has a negative entry, the step takes ``G' v + g`` with v the solution of
    ``min_v v' (G G' + ridge I) v / 2 + g' G' v``, every entry of v at least ``margin``.

    Parameters
    ----------
    samples_per_task:
        Training samples of each task that are kept at its end, chosen at random.
    margin:
        Least share of each past task's gradient in a corrected step (the paper's gamma, Avalanche's
        ``memory_strength``). 0 gives the projection itself.
    ridge:
        Added to the diagonal of the dual problem. The paper has none; its code and Avalanche add 1e-3.

    Source: Lopez-Paz & Ranzato, NeurIPS 2017. Deviations: none of the paper; its code keeps the last samples
    of each task, not random ones.
    """

    scales: ClassVar[tuple[str, ...]] = ("margin", "ridge")
    samples_per_task: int = 50
    margin: float = 0.5
    ridge: float = 0.0

    def __post_init__(self) -> None:
        check_whole("samples_per_task", self.samples_per_task)
        for name in ("margin", "ridge"):
            if not getattr(self, name) >= 0:
                raise PerdureError(f"{name} must be at least 0; found {getattr(self, name)}")

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        memory = empty(self.samples_per_task * len(stream), params, stream)
        return {
            k: memory[k].view(len(stream), self.samples_per_task, *memory[k].shape[1:])
            for k in (*stream.example(), "filled")
        }

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        names = [k for k in state if k != "filled"]

        def one(filled: Tensor, *tensors: Tensor) -> Params:
            rows, buffers = tensors[: len(names)], tensors[len(names) :]
            own = replace(net, buffers=dict(zip(net.buffers, buffers, strict=True)))
            weight = filled.to(next(iter(params.values())).dtype)
            past = batch.like(weigh(dict(zip(names, rows, strict=True)), weight))
            slopes: Params = grad(lambda p: replace(own, _memo={}).losses(p, past).sum())(params)
            return slopes

        memory = [state[k] for k in ("filled", *names)]
        # Norm layers write on their statistics: each task has its own.
        buffers = [v.expand(len(state["filled"]), *v.shape) for v in net.buffers.values()]
        memories: Params = net.each(one, *memory, *buffers)
        return project(grads, memories, state["filled"].any(-1), self.margin, self.ridge)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        kept = task.rng.permutation("kept", len(task.y))[: self.samples_per_task]
        place = torch.arange(len(kept), device=kept.device)
        rows = task.rows
        new = {k: place_rows(state[k], task.index, place, v[kept]) for k, v in rows.items()}
        filled = (torch.arange(self.samples_per_task, device=kept.device) < len(kept)).unsqueeze(0)
        mine = torch.arange(len(state["filled"]), device=kept.device).unsqueeze(1) == task.index
        return params, {**new, "filled": torch.where(mine, filled, state["filled"])}


def place_rows(memory: Tensor, index: int, place: Tensor, values: Tensor) -> Tensor:
    """Write rows into the part of the memory ``[tasks, samples_per_task, ...]`` that belongs to one task."""
    return memory.index_put((torch.full_like(place, index), place), values.to(memory.dtype))


def project(grads: Params, memories: Params, seen: Tensor, margin: float, ridge: float) -> Params:
    """Correct a gradient by those of past tasks: ``memories[k] [tasks, ...]``, of which ``seen`` count."""
    names = list(grads)
    rows = torch.cat([memories[k].flatten(1) for k in names], 1) * seen.unsqueeze(1)
    flat = torch.cat([grads[k].flatten() for k in names])
    # In double precision: products of gradients span many orders of magnitude.
    gram, along = (rows @ rows.mT).double(), (rows @ flat).double()
    gram = gram + ridge * torch.eye(len(seen), dtype=gram.dtype, device=gram.device)
    least = margin * seen.to(gram.dtype)
    share = least + nonnegative(gram, along + gram @ least)
    share = torch.where((along < 0).any(), share * seen, 0.0).to(flat.dtype)
    return {k: g + torch.tensordot(share, memories[k], 1) for k, g in grads.items()}
