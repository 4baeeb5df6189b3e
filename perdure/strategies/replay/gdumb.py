"""GDumb: a greedy balanced memory, and a model trained from scratch on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State, weigh
from perdure.core.checks import MOST_SAMPLES, check_whole
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import NOT_ROWS, empty, pick

if TYPE_CHECKING:
    from perdure.core.random import Rng
    from perdure.scenarios.contract.stream import Stream


@strategy("gdumb")
class GDumb(Strategy):
    """Only collect during a task; at its end, train the initial model on the memory, as if nothing had been.

    The memory takes a sample while its class has less than an equal share (capacity / classes seen so far),
    and gives up a random sample of the largest class if it is full. A baseline: what a continual learner
    does not beat was not worth the stream.

    Parameters
    ----------
    capacity:
        Number of samples that the memory holds.
    epochs:
        Passes over the memory at the end of each task.
    batch_size:
        Samples of a step of these passes, whatever the run's batch size.

    Source: Prabhu et al., ECCV 2020. Deviations: no cutmix and no schedule of its own (the run's schedule
    starts over in each fit, as does the optimiser's memory); samples are offered at the end of the task, in
    random order; a class of two tasks counts as two, as otherwise no task after the first would find room
    where tasks share their classes.
    """

    capacity: int = 200
    epochs: int = 30
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_whole("capacity", self.capacity)
        check_whole("epochs", self.epochs)
        check_whole("batch_size", self.batch_size, most=MOST_SAMPLES)

    def phases(self, stream: Stream) -> list[Phase]:
        stream.need_samples(self.name)
        seen, phases = 0, []
        for stage in super().phases(stream):
            seen += sum(len(stream[t].train) for t in stage.tasks)
            steps = self.epochs * -(-min(seen, self.capacity) // self.batch_size)
            phases.append(replace(stage, name="collect", stage=False, epochs=0))
            phases.append(replace(stage, name="fit", steps=steps, reset=True))
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {
            "memory": empty(self.capacity, params, stream),
            "start": {k: v.clone() for k, v in {**params, **net.buffers}.items()},
            "order": torch.arange(self.capacity, device=next(iter(params.values())).device),
            "done": torch.zeros((), dtype=torch.int64, device=next(iter(params.values())).device),
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != "fit":
            return params, state
        order = shuffled(task.rng, state["memory"]["filled"])
        start = {k: v.clone() for k, v in state["start"].items()}
        return start, {**state, "order": order, "done": torch.zeros_like(state["done"])}

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        # The last batch of a pass that does not divide the memory starts over in the same order.
        memory, index = state["memory"], torch.arange(self.batch_size, device=state["order"].device)
        place = state["order"][(state["done"] + index) % memory["filled"].sum().clamp_min(1)]
        rows = {k: v[place] for k, v in memory.items() if k not in (*NOT_ROWS, "key")}
        return batch.like(weigh(rows, memory["filled"][place].to(batch.weight.dtype)))

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        filled, done = state["memory"]["filled"], state["done"] + self.batch_size
        through = done >= filled.sum()
        order = torch.where(through, shuffled(step.batch.rng, filled), state["order"])
        return params, {**state, "order": order, "done": torch.where(through, 0, done)}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != "collect":
            return params, state
        n, memory, rng = len(task.y), state["memory"], task.rng
        rows = task.rows
        chosen = greedy(
            torch.where(memory["filled"], kinds(memory["task"], memory["y"]), -1),
            kinds(task.task, task.y).expand(n), rng.permutation("offered", n), rng.bits("victims", n),
        )  # fmt: skip
        return params, {**state, "memory": pick(memory, rows, chosen.clamp_min(0), chosen >= 0)[0]}


def kinds(task: Tensor, y: Tensor) -> Tensor:
    """Number the classes of all tasks; regression targets are of one kind."""
    return task * 2**20 + (0 if y.is_floating_point() else y)


def shuffled(rng: Rng, filled: Tensor) -> Tensor:
    """Return the slots in random order, filled ones first."""
    return torch.where(filled, rng.bits("order", len(filled)), 2**32).sort(stable=True).indices


@torch.library.custom_op("perdure::greedy", mutates_args=())
def greedy(held: Tensor, offered: Tensor, order: Tensor, victims: Tensor) -> Tensor:
    """Choose slots by the greedy balancing sampler of GDumb.

    ``held [..., M]`` are the kinds in the memory (-1: free), ``offered [..., n]`` those of new samples,
    which come in the given ``order [..., n]``; ``victims [..., n]`` are random words. Returns ``[..., M]``:
    i < M for the sample in slot i, M + j for new sample j, -1 for a slot that stays free.
    """
    capacity = held.shape[-1]
    rows = [t.expand(*order.shape[:-1], -1).reshape(-1, t.shape[-1]) for t in (held, offered, order, victims)]
    chosen = [_greedy([t.tolist() for t in one], capacity) for one in zip(*rows, strict=True)]
    return torch.tensor(chosen, device=held.device).view(*order.shape[:-1], capacity)


@greedy.register_fake
def _(held: Tensor, offered: Tensor, order: Tensor, victims: Tensor) -> Tensor:
    return order.new_empty(*order.shape[:-1], held.shape[-1])


def _greedy(rows: list[list[int]], capacity: int) -> list[int]:
    held, offered, order, victims = rows
    groups: dict[int, list[int]] = {}
    for slot, kind in enumerate(held):
        if kind >= 0:
            groups.setdefault(kind, []).append(slot)
    size = sum(len(g) for g in groups.values())
    for sample, word in zip(order, victims, strict=True):
        own = groups.setdefault(offered[sample], [])
        if len(own) * len(groups) >= capacity:
            continue
        if size == capacity:
            largest = max(groups.values(), key=len)
            largest.pop(word * len(largest) >> 32)
            size -= 1
        own.append(capacity + sample)
        size += 1
    kept = [place for group in groups.values() for place in group]
    return kept + [-1] * (capacity - size)


@greedy.register_vmap
def _(info: Any, in_dims: Any, *tensors: Tensor) -> tuple[Tensor, int]:
    size = info.batch_size
    whole = [
        t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
        for t, dim in zip(tensors, in_dims, strict=True)
    ]
    return greedy(*whole), 0
