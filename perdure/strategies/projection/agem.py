"""Averaged gradient episodic memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import grad

from perdure.core.batch import Batch, Params, State, weigh
from perdure.core.checks import MOST_SAMPLES, check_whole
from perdure.core.net import Net
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import balance, by_task, draw, empty

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("agem")
class AGEM(Strategy):
    """Step in no direction that raises the loss on a batch of remembered samples, to first order.

    With g the gradient of the step and r the one on samples of past tasks, all parameters in one vector:
    ``g - (g.r / r.r) r`` where ``g.r < 0``, and g itself elsewhere.

    Parameters
    ----------
    samples_per_task:
        Training samples of each task that are kept at its end, chosen at random.
    sample:
        Samples drawn from all past tasks at each step, uniformly with replacement.

    Source: Chaudhry et al., ICLR 2019. Deviation: they draw without replacement (Avalanche as many from each
    task, by passing over its samples).
    """

    samples_per_task: int = 50
    sample: int = 64

    def __post_init__(self) -> None:
        check_whole("samples_per_task", self.samples_per_task)
        check_whole("sample", self.sample, most=MOST_SAMPLES)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return empty(self.samples_per_task * len(stream), params, stream)

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        rows, weight = draw(state, batch.rng, "reference", self.sample)
        past = batch.like(weigh(rows, weight))
        reference = grad(lambda p: replace(net, _memo={}).losses(p, past).sum())(params)
        return project(grads, reference)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        rows = task.rows
        return params, balance(state, task.rng, rows, by_task, share=self.samples_per_task)[0]


def project(grads: Params, reference: Params) -> Params:
    """Take out of a gradient what points against the reference; leave it alone where nothing does."""
    along = dot(grads, reference)
    square = dot(reference, reference)
    # A reference of length 0 (no past yet) asks for nothing.
    share = torch.where((along < 0) & (square > 0), along / torch.where(square > 0, square, 1.0), 0.0)
    return {k: g - share * reference[k] for k, g in grads.items()}


def dot(a: Params, b: Params) -> Tensor:
    """Inner product over all parameters."""
    return torch.stack([(a[k] * b[k]).sum() for k in a]).sum()
