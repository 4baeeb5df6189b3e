"""DARE: drop and rescale."""

from __future__ import annotations

import torch

from perdure.core.batch import Params, State
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, move, rule, vectors


@rule("dare")
class DARE(Streaming):
    """Drop entries of the task vectors at random and rescale the others; then task arithmetic.

    ``theta_0 + scale * sum_t m_t tau_t / (1 - drop)``, where the entries of m_t are 0 with probability
    ``drop`` and else 1, each by itself: the mean over the draws is that of task arithmetic.

    Parameters
    ----------
    drop:
        Probability with which an entry is dropped.
    scale:
        The factor lambda of the sum.

    Each call draws anew for all models: in a bank, a model that was merged before is thinned in another way.

    Raises
    ------
    PerdureError
        When it is called without random numbers.

    Source: Yu et al., "Language models are super Mario", ICML 2024, arXiv 2311.03099.
    """

    drop: float = 0.9
    scale: float = 0.3

    def __post_init__(self) -> None:
        check_number("drop", self.drop, high=1)
        check_number("scale", self.scale)

    def begin(self, base: Params) -> State:
        return {"sum": {k: torch.zeros_like(v) for k, v in base.items()}}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        if rng is None:
            raise PerdureError("dare draws what it drops: it needs random numbers, `rng`; found None")
        new = vectors(base, task)
        kept = {k: rng.uniform(k, *v.shape) >= self.drop for k, v in new.items()}
        thinned = {k: torch.where(kept[k], v / (1 - self.drop), 0.0) for k, v in new.items()}
        return {"sum": {k: v + thinned[k] for k, v in state["sum"].items()}}

    def read(self, base: Params, state: State) -> Params:
        return move(base, state["sum"], self.scale)
