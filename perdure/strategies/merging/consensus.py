"""Consensus merging: drop what serves one task only, or none."""

from __future__ import annotations

import torch

from perdure.core.batch import Params
from perdure.core.checks import check_number, check_whole
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Rule, count, move, rule, vectors
from perdure.strategies.merging.tall import tall_masks


@rule("consensus")
class Consensus(Rule):
    """Task arithmetic with those entries only that several tasks call theirs.

    ``theta_0 + scale * [sum_t m_t >= agree] sum_t tau_t`` with the masks m_t of :class:`TallMasks`. While
    there are fewer than ``agree`` tasks, all of them have to.

    Parameters
    ----------
    threshold:
        As in :class:`TallMasks`.
    agree:
        How many tasks have to call an entry theirs.
    scale:
        The factor lambda of the sum.

    Source: Wang et al., "Localizing task information for improved model merging and compression", ICML 2024,
    arXiv 2405.07813.

    >>> base, tasks = {"w": torch.zeros(3)}, {"w": torch.tensor([[4.0, 1.0, -1.0], [1.0, 2.0, 3.0]])}
    >>> Consensus(threshold=0.4, scale=1.0).merge(base, tasks)["w"].tolist()
    [0.0, 3.0, 0.0]
    """

    threshold: float = 0.4
    agree: int = 2
    scale: float = 0.3

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold)
        check_whole("agree", self.agree)
        check_number("scale", self.scale)

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        own = vectors(base, tasks)
        masks, enough = tall_masks(own, self.threshold), min(self.agree, count(own))
        kept = {k: torch.where(masks[k].sum(0) >= enough, v.sum(0), 0.0) for k, v in own.items()}
        return move(base, kept, self.scale)
