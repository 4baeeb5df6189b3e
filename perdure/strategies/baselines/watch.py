"""A look at the tasks' gradients while a multi-task strategy trains, which changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.inspect import shared
from perdure.strategies.contract.phase import Phase, Step
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("watch-conflicts")
class WatchConflicts(Strategy):
    """Measure how far tasks' gradients agree while all are learned at once: ``mmoe + watch-conflicts``.

    At each step, of the gradients g_i of the tasks' losses L_i with respect to what all tasks share, it takes
    the cosine of each pair, whether the two conflict (the cosine is negative), and the affinity of task i for
    task j, ``g_i . g_j / L_j``: the share of L_j that a step of unit length along -g_i takes away, to first
    order. Training is what it is without, up to rounding; each step takes a gradient per task.

    ``results.conflicts()``, ``results.cosines(name)`` and ``results.affinity(name)`` give what it measured,
    ``results.plot_conflicts()`` draws it.

    Parameters
    ----------
    bins:
        Into how many stretches of equally many steps training is divided at most, an even number. When all
        are full, neighbours are put together, so that half to all of them are in use at the end.

    Sources: Yu et al., NeurIPS 2020 (conflicts); Fifty et al., NeurIPS 2021 (affinity; theirs evaluates L_j
    after the step, at the run's learning rate, and ours is its first-order term divided by that rate).
    """

    per_loss_gradients: ClassVar[bool] = True
    bins: int = 32

    def __post_init__(self) -> None:
        check_whole("bins", self.bins)
        if self.bins % 2:
            raise PerdureError(f"bins must be an even number; found {self.bins}")

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        every = tuple(range(len(stream)))
        together = len(stream) > 1 and any(p.batch_per_task and p.tasks == every for p in phases)
        if not together and _tasks(stream) == len(stream):
            raise PerdureError(
                "watch-conflicts needs the losses of two or more tasks at each step, as multi-task "
                "strategies take them ('weighted + watch-conflicts'); found none"
            )
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if not _shared(net, params):
            raise PerdureError("watch-conflicts needs parameters that all tasks share; found none")
        like, tasks = next(iter(params.values())), _tasks(stream)
        each = (self.bins, tasks, tasks)
        counts = {k: torch.zeros((), dtype=torch.int64, device=like.device) for k in ("steps", "width")}
        return {
            **{k: like.new_zeros(each) for k in ("cosines", "conflicts", "pairs")},
            **{k: like.new_zeros(each[1:]) for k in ("affinity", "losses")},
            **counts,
            "width": counts["width"] + 1,
        }

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        tasks = len(state["affinity"])
        if step.of_each is None or step.batch.losses is None or step.batch.entries != tasks:
            return params, state  # a phase of its own business, such as one that learns a single task
        gram = sum(_products(step.of_each[k][:tasks]) for k in _shared(net, params))
        assert isinstance(gram, Tensor)
        length = gram.diagonal().sqrt()
        there = (length.unsqueeze(0) > 0) & (length.unsqueeze(1) > 0)
        cosine = torch.where(there, gram / torch.where(there, length.outer(length), 1.0), 0.0)
        loss = step.batch.losses[:tasks]
        positive = (loss > 0).expand_as(gram)
        affinity = torch.where(positive, gram / torch.where(loss > 0, loss, 1.0), 0.0)
        new = {"cosines": cosine, "conflicts": (cosine < 0).to(gram.dtype), "pairs": there.to(gram.dtype)}
        full = state["steps"] == self.bins * state["width"]
        width = torch.where(full, 2 * state["width"], state["width"])
        place = torch.arange(self.bins, device=gram.device) == state["steps"] // width
        here = place.to(gram.dtype).view(-1, 1, 1)
        return params, {
            **{k: torch.where(full, _halved(state[k]), state[k]) + here * v for k, v in new.items()},
            "affinity": state["affinity"] + affinity,
            "losses": state["losses"] + positive.to(gram.dtype),
            "steps": state["steps"] + 1,
            "width": width,
        }

    def report(self, state: State) -> State:
        upper = torch.ones_like(state["affinity"]).triu(1)
        total = {k: state[k].sum(0) for k in ("cosines", "pairs")}
        return {
            "steps": state["steps"],
            "width": state["width"],
            "conflicts": (state["conflicts"] * upper).sum((1, 2)),
            "pairs": (state["pairs"] * upper).sum((1, 2)),
            "cosines": total["cosines"] / total["pairs"].clamp_min(1),
            "affinity": state["affinity"] / state["losses"].clamp_min(1),
        }


def _tasks(stream: Stream) -> int:
    """How many losses a step of multi-task learning has: one per task, or per target of the only task."""
    return len(stream) if len(stream) > 1 else stream.objective.targets


def _shared(net: Net, params: Params) -> tuple[str, ...]:
    """Name what all tasks share: the head too where all tasks use the same outputs."""
    if net.masks is None and getattr(net.module, "task_specific", None) is None:
        return tuple(params)
    return shared(net.module, params, 0 if net.masks is None else net.masks.shape[1])


def _products(gradients: Tensor) -> Tensor:
    rows = gradients.flatten(1)
    return rows @ rows.mT


def _halved(bins: Tensor) -> Tensor:
    """Put neighbouring bins together; the second half is empty then."""
    pairs = bins.view(len(bins) // 2, 2, *bins.shape[1:]).sum(1)
    return torch.cat([pairs, torch.zeros_like(pairs)])
