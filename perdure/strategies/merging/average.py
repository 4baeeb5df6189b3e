"""The mean of the models."""

from __future__ import annotations

import torch

from perdure.core.batch import Params, State
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, move, rule, vectors


@rule("average")
class Average(Streaming):
    """The mean of the models' weights: ``theta_0 + (1/T) sum_t tau_t``.

    Source: Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482 (uniform soup).

    >>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[1.0, 2.0], [3.0, 0.0]])}
    >>> Average().merge(base, tasks)["w"].tolist()
    [2.0, 1.0]
    """

    def begin(self, base: Params) -> State:
        first = next(iter(base.values()))
        return {"mean": {k: torch.zeros_like(v) for k, v in base.items()}, "count": first.new_zeros(())}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        count, new = state["count"] + 1, vectors(base, task)
        return {"mean": {k: v + (new[k] - v) / count for k, v in state["mean"].items()}, "count": count}

    def read(self, base: Params, state: State) -> Params:
        return move(base, state["mean"])

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        return move(base, {k: v.mean(0) for k, v in vectors(base, tasks).items()})
