"""Experience replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import MOST_SAMPLES, check_whole
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
)

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("replay")
class Replay(Strategy):
    """Learn from each incoming batch together with a batch drawn from a memory of earlier samples.

    The loss is the mean over both batches, in one forward pass; while the memory is empty, over the
    incoming one. The memory holds samples as they came from the stream, whatever strategies beside it make of
    a batch.

    Parameters
    ----------
    capacity:
        Number of samples that the memory holds.
    batch_size:
        Samples drawn at each step, uniformly with replacement; ``None`` draws as many as come in.
    policy:
        ``"reservoir"``: every sample learned from so far is held with equal probability, those of the
        current task too, and the memory is filled at each step. ``"class"``: filled at the end of each task,
        with equal shares for all classes seen so far; the memory then holds past tasks only. ``"task"``: the
        same with equal shares for all tasks.

    Source: Chaudhry et al., "On tiny episodic memories in continual learning", 2019, and Riemer et al., ICLR
    2019 (reservoir); ``"task"`` is what Avalanche's ``ReplayPlugin`` does by default. Deviations: they draw
    without replacement, Avalanche by passing over the memory.
    """

    capacity: int = 200
    batch_size: int | None = None
    policy: Policy = "reservoir"

    def __post_init__(self) -> None:
        check_whole("capacity", self.capacity)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, most=MOST_SAMPLES)
        check_policy(self.policy)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        check_labels(self.policy, stream)
        return empty(self.capacity, params, stream)

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        return join(net, batch, *draw(state, batch.rng, "replay", self.batch_size or batch.fresh))

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if self.policy != "reservoir":
            return params, state
        return params, offer(state, step.batch.rng, came_in(step), step.incoming.sample_weight)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if self.policy == "reservoir":
            return params, state
        rows = task.rows
        return params, balance(state, task.rng, rows, BALANCED_OVER[self.policy])[0]
