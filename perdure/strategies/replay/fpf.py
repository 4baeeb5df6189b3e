"""Forgetting-prioritised fine-tuning: mend only the modules that tasks move, now and then, from a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, Rows, State, weigh, weighted_mean
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts import moves
from perdure.strategies.parts.memory import came_in, draw, empty, offer, outputs_of
from perdure.strategies.parts.sensitivity import all_weights, by_module, named_modules, random_weights

if TYPE_CHECKING:
    from perdure.core.random import Rng
    from perdure.scenarios.contract.stream import Stream

FINE_TUNE = "fine-tune"


# How often the stream may be cut.
MOST_TIMES = 10_000


@strategy("fpf")
class FPF(Strategy):
    """At the end of the stream, fine-tune a few modules on a memory; all others stay as they are, to the bit.

    The memory is filled by reservoir sampling all along, and read only while fine-tuning. In a composition,
    ``derpp + fpf``, the other strategy learns the stream as it would alone, with a memory of its own if it
    has one; while fine-tuning, none of its hooks run. Fine-tuning starts with fresh optimiser memory, and
    learning goes on with the one it had.

    Parameters
    ----------
    capacity:
        Number of samples that the memory holds.
    steps:
        Steps of fine-tuning, of the run's learning rate and schedule; each batch is drawn from the memory,
        uniformly with replacement, and as long as a batch of the task at hand.
    modules:
        Which modules: names (``"0"``, ``["0", "bn1"]``), ``"head"`` (the last layer), ``"norm"``
        (normalising layers), ``"first"`` (the first convolution or linear layer), joined by + or commas;
        ``"all"``; or ``"auto"``: each replica's most sensitive ones.
    top:
        How many modules ``"auto"`` takes. Sensitivity of module l is the sum over the epochs so far of
        ``(1 / |theta^l|) * ||theta^l_n - theta^l_(n-1)||_1``, and the move since the last epoch's end.
    control:
        Fine-tune random modules instead, with as many weights as ``modules`` has: modules in random order,
        of the last one random weights. Drawn anew by each replica each time.

    Cost: ``steps`` batches are seen besides the stream's. Only the gradient of the named modules is taken: of
    the three products per weight of a step of learning, a step on the head leaves one, 1/3, and one on early
    norms two, 2/3 (docs/methods.md has counts). What ``"auto"`` and ``control`` choose differs by replica,
    and one recorded step serves them all: they take the whole gradient and throw the rest away.
    ``perdure.measure_sensitivity`` tells which modules to name instead.

    Source: Zhang et al., "Forgetting-prioritized fine-tuning", arXiv 2304.04158. From the abstract: what is
    fine-tuned, when, on what. From second-hand accounts: the formula of sensitivity. No code was found:
    default modules, capacity, the optimiser's memory, summing over epochs and ``top`` are a reconstruction.
    """

    private_phases: ClassVar[tuple[str, ...]] = (FINE_TUNE,)
    # How many times, and the weight of matching: no parameters here, but of k-FPF.
    k = 1
    kd = 0.0
    capacity: int = 200
    steps: int = 100
    modules: str | Sequence[str] = "norm+head"
    top: int = 2
    control: bool = False

    def __post_init__(self) -> None:
        if self.capacity == 0:
            raise PerdureError(
                f"{self.name} fine-tunes on remembered samples: set capacity to at least 1, or use 'naive', "
                "which remembers none; found capacity=0"
            )
        for name in ("capacity", "steps", "top"):
            check_whole(name, getattr(self, name))

    @property
    def masked(self) -> bool:
        """Whether each replica has modules of its own, which masks tell; otherwise names do, for all."""
        return self.modules == "auto" or self.control

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        for p in phases:
            if (p.epochs, p.steps, p.portion) != (None, None, (0.0, 1.0)):
                raise PerdureError(
                    f"{self.name} fine-tunes in between passes over the stream; found the phase {p.name!r}, "
                    "which is of another kind"
                )
        counts = [sum(len(stream[t].train) for t in p.tasks) for p in phases]
        return interleave(phases, counts, self.k, self.steps)

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        if phase != FINE_TUNE or self.masked:
            return super().trainable(net, params, phase)
        groups = zip(by_module(params).values(), self.named(net, params), strict=True)
        return [name for names, chosen in groups if chosen for name in names]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if self.modules != "auto":
            self.named(net, params)
        memory = empty(self.capacity, params, stream)
        if self.kd:
            memory["logits"] = next(iter(params.values())).new_zeros(self.capacity, stream.outputs)
        state: State = {"memory": memory, "buffers": {k: v.clone() for k, v in net.buffers.items()}}
        if self.masked:
            state["chosen"] = {k: torch.zeros_like(p, dtype=torch.bool) for k, p in params.items()}
        if self.modules == "auto":
            state["moves"] = moves.start(params)
        return state

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != FINE_TUNE:
            if self.modules == "auto":
                state = {**state, "moves": moves.begin(state["moves"], params, len(task.y))}
            return params, state
        state = {**state, "buffers": {k: v.clone() for k, v in net.buffers.items()}}
        if self.masked:
            state["chosen"] = self.choose(net, params, state, task.rng)
        if self.modules == "auto":
            # What fine-tuning moves is no sensitivity.
            state["moves"] = moves.turn(state["moves"], params)
        return params, state

    def named(self, net: Net, params: Params) -> list[bool]:
        """Tell of each module whether ``modules`` names it."""
        return named_modules(self.modules, net.module, params)

    def choose(self, net: Net, params: Params, state: State, rng: Rng) -> dict[str, Tensor]:
        """Return which weights a replica fine-tunes, a mask like each parameter."""
        if self.modules == "auto":
            chosen = moves.most(state["moves"], params, self.top)
        else:
            chosen = torch.tensor(self.named(net, params), device=rng.seed.device)
        return random_weights(params, chosen, rng) if self.control else all_weights(params, chosen)

    def drawn(self, state: State, batch: Batch) -> tuple[Rows, Tensor]:
        """Return the remembered samples of this step; asked twice, the same ones."""
        return draw(state["memory"], batch.rng, FINE_TUNE, len(batch))

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        if batch.phase != FINE_TUNE:
            return batch
        rows, weight = self.drawn(state, batch)
        return batch.like(weigh(rows, weight))

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        if batch.phase != FINE_TUNE or not self.kd:
            return losses
        rows, weight = self.drawn(state, batch)
        distance = (net(params, batch.x, batch.task) - rows["logits"]).square().mean(-1)
        return losses + self.kd * weighted_mean(distance, weight) / len(losses)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if step.batch.phase == FINE_TUNE:
            if self.masked:
                params = {k: torch.where(m, params[k], step.previous[k]) for k, m in state["chosen"].items()}
            return params, state
        rows, weight = came_in(step), step.incoming.sample_weight
        if self.kd:
            rows["logits"] = outputs_of(net, step.previous, step)
        state = {**state, "memory": offer(state["memory"], step.batch.rng, rows, weight)}
        if self.modules == "auto":
            state["moves"] = moves.add(state["moves"], params, (weight > 0).sum())
        return params, state

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != FINE_TUNE:
            return params, state
        # Running statistics go on where all of their module is fine-tuned, and back elsewhere.
        groups, tuned, buffers = by_module(params), self.trainable(net, params, FINE_TUNE), {}
        for k, before in state["buffers"].items():
            own = groups.get(k.rpartition(".")[0], [])
            after = net.buffers[k] if own and set(own) <= set(tuned) else before
            if own and self.masked:
                whole = torch.stack([state["chosen"][n].all() for n in own]).all()
                after = torch.where(whole, after, before)
            buffers[k] = after.clone()
        if self.modules == "auto":
            state = {**state, "moves": moves.turn(state["moves"], params)}
        return {**params, **buffers}, state


@strategy("kfpf")
class KFPF(FPF):
    """Learn without protection, and fine-tune a few modules on a memory k times, evenly spaced in the stream.

    The times do not depend on where tasks begin and end: the i-th comes after ``i / k`` of all training
    samples (the passes over a task are cut where it falls, to the nearest step), the last at the very end.
    The memory is read ``k * steps`` times in all; replay reads it at each step.

    Parameters
    ----------
    capacity, steps, modules, top, control:
        As in :class:`FPF`; ``steps`` are those of each time.
    k:
        How many times. With 0, this is plain sequential learning.
    kd:
        Weight of the mean squared distance to the outputs stored with the samples, before the optimiser's
        step that stored them: k-FPF-KD.

    Cost against replay with equal batches: ``1/2 + c k K / (2 S)``, with K steps each time and S steps of
    learning. The cost c of a step of fine-tuning lies between 1/3 (the head) and 2/3 (early norms) of a step
    of learning, and is 1 with ``"auto"`` and ``control``.

    Source: as :class:`FPF`. That fine-tuning comes at even spacing and that the memory is filled all along
    is in the abstract; matching by squared distance, the step counts and the weight are a reconstruction.
    """

    steps: int = 50
    k: int = 5
    kd: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("k", self.k, 0, MOST_TIMES)
        if not self.kd >= 0:
            raise PerdureError(f"kd must be at least 0; found {self.kd}")


def interleave(phases: list[Phase], sizes: Sequence[int], times: int, steps: int) -> list[Phase]:
    """Cut phases of so many samples each, and put fine-tuning after each ``1 / times`` of all samples."""
    result, start = [], 0
    cuts = [Fraction(sum(sizes) * i, times) for i in range(1, times + 1)]
    for phase, size in zip(phases, sizes, strict=True):
        inside = [float((cut - start) / size) for cut in cuts if start < cut <= start + size]
        for portion in pairwise([0.0, *inside]):
            stage = phase.stage and portion[1] == 1
            result.append(replace(phase, portion=portion, stage=False))
            result.append(Phase(phase.tasks, FINE_TUNE, stage, steps=steps))
        if not inside or inside[-1] < 1:
            result.append(replace(phase, portion=(inside[-1] if inside else 0.0, 1.0)))
        start += size
    return result
