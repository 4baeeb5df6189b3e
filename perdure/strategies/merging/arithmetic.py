"""Task arithmetic."""

from __future__ import annotations

import torch

from perdure.core.batch import Params, State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, move, rule, vectors


@rule("task-arithmetic")
class TaskArithmetic(Streaming):
    """The sum of the task vectors: ``theta_0 + scale * sum_t tau_t``.

    Parameters
    ----------
    scale:
        The factor lambda of the sum; 0.3 does well for eight tasks. With 1/T this is the average.

    Source: Ilharco et al., "Editing models with task arithmetic", ICLR 2023, arXiv 2212.04089.

    >>> base, tasks = {"w": torch.ones(2)}, {"w": torch.tensor([[2.0, 1.0], [4.0, 3.0]])}
    >>> TaskArithmetic(scale=0.5).merge(base, tasks)["w"].tolist()
    [3.0, 2.0]
    """

    scale: float = 0.3

    def __post_init__(self) -> None:
        check_number("scale", self.scale)

    def begin(self, base: Params) -> State:
        return {"sum": {k: torch.zeros_like(v) for k, v in base.items()}}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        new = vectors(base, task)
        return {"sum": {k: v + new[k] for k, v in state["sum"].items()}}

    def read(self, base: Params, state: State) -> Params:
        return move(base, state["sum"], self.scale)

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        return move(base, {k: v.sum(0) for k, v in vectors(base, tasks).items()}, self.scale)
