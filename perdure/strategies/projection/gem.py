"""Gradient episodic memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

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


@torch.library.custom_op("perdure::nonnegative", mutates_args=())
def nonnegative(gram: Tensor, linear: Tensor) -> Tensor:
    """Minimise ``w' A w / 2 + c' w`` over ``w >= 0`` exactly, for a batch of small problems.

    The active-set method of Lawson & Hanson (1974) in terms of the positive semi-definite A
    ``[..., n, n]`` and of c ``[..., n]`` in the range of A. One node of a recorded step, as its number of
    rounds depends on the values.
    """
    size = linear.shape[-1]
    a, c = gram.reshape(-1, size, size), linear.reshape(-1, size)
    # Tasks' gradients differ in length by orders of magnitude: solve for rows of unit length.
    length = a.diagonal(dim1=-2, dim2=-1).sqrt()
    unit = 1.0 / torch.where(length > 0, length, 1.0)
    a, c = a * unit.unsqueeze(-1) * unit.unsqueeze(-2), c * unit
    w, free = torch.zeros_like(c), torch.zeros_like(c, dtype=torch.bool)
    tolerance = 1e-12 * c.abs().amax(-1)
    index = torch.arange(size, device=c.device)
    for _ in range(3 * size):
        descent = -(a @ w.unsqueeze(-1)).squeeze(-1) - c
        most = torch.where(free, -torch.inf, descent).max(-1)
        grows = most.values > tolerance
        if not bool(grows.any()):
            break
        free = free | (grows.unsqueeze(-1) & (index == most.indices.unsqueeze(-1)))
        w, free = _settle(a, c, w, free)
    return (w * unit).view_as(linear)


def _settle(a: Tensor, c: Tensor, w: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise over the free entries, giving up those that would turn negative."""
    eye = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device)
    for _ in range(c.shape[-1]):
        both = free.unsqueeze(-1) & free.unsqueeze(-2)
        # Equal rows, which rounding may let in, must not leave a singular system.
        system = torch.where(both, a + 1e-14 * eye, eye)
        goal = torch.linalg.solve_ex(system, torch.where(free, -c, 0.0).unsqueeze(-1))[0].squeeze(-1)
        bad = free & (goal <= 0)
        if not bool(bad.any()):
            return goal, free
        ratio = torch.where(bad, w / (w - goal).clamp_min(1e-300), torch.inf)
        step = ratio.amin(-1, keepdim=True).clamp_max(1.0)
        w = w + step * (goal - w)
        free = free & ~(bad & (ratio <= step)) & (w > 0)
        w = torch.where(free, w, 0.0)
    return w, free


@nonnegative.register_fake
def _(gram: Tensor, linear: Tensor) -> Tensor:
    return torch.empty_like(linear)


@nonnegative.register_vmap
def _(info: Any, in_dims: Any, gram: Tensor, linear: Tensor) -> tuple[Tensor, int]:
    size = info.batch_size
    a, c = (
        t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
        for t, dim in zip((gram, linear), in_dims, strict=True)
    )
    return nonnegative(a, c), 0
