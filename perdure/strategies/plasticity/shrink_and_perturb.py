"""Shrink and perturb."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_one_of
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

MOMENTS = ("step", "task")


@strategy("shrink-and-perturb")
class ShrinkAndPerturb(Strategy):
    """Make all weights a little smaller, and add noise to them, again and again.

    ``theta <- (1 - shrink) theta + noise * draw``, draw standard normal, for every weight by itself: after
    each step of the optimiser, or before each task but the first.

    Parameters
    ----------
    shrink:
        Share of each weight that is taken away, in [0, 1].
    noise:
        Standard deviation of what is added. Left alone, weights end at a standard deviation of about
        ``noise / sqrt(2 * shrink)``.
    at:
        ``"step"``: after each step, as in Dohare et al.; ``"task"``: at the start of each task but the first,
        as in Ash & Adams, whose ``shrink`` is then large (0.5, say; their lambda is ``1 - shrink``).

    Cost: a random number for every weight each time.

    Sources: Ash & Adams, "On warm-starting neural network training", NeurIPS 2020, arXiv 1910.08475, before
    training on new data; Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024, at each
    step, where the optimiser's weight decay shrinks: ``shrink`` is the learning rate times that.
    """

    scales: ClassVar[tuple[str, ...]] = ("shrink", "noise")
    shrink: float = 1e-4
    noise: float = 1e-3
    at: Literal["step", "task"] = "step"

    def __post_init__(self) -> None:
        check_number("shrink", self.shrink, high=1, ends="[]")
        check_number("noise", self.noise)
        check_one_of("at", self.at, MOMENTS)

    def init(self, net: Net, params: Params, stream: object) -> State:
        like = next(iter(params.values()))
        # A joint stream's only phase has the last task's index: whether a phase came before must be kept.
        return {"begun": torch.zeros((), dtype=torch.bool, device=like.device)} if self.at == "task" else {}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if self.at == "step":
            return params, state
        moved = self._moved(params, task.rng)
        params = {k: torch.where(state["begun"], moved[k], p) for k, p in params.items()}
        return params, {"begun": torch.ones_like(state["begun"])}

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        return (params, state) if self.at == "task" else (self._moved(params, step.batch.rng), state)

    def _moved(self, params: Params, rng: Rng) -> Params:
        return {
            k: (1 - self.shrink) * p + self.noise * rng.normal(k, *p.shape, dtype=p.dtype)
            for k, p in params.items()
        }
