"""TALL masks: find each task in the sum of all."""

from __future__ import annotations

from typing import ClassVar

import torch

from perdure.core.batch import Params
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Rule, rule, vectors


@rule("tall-masks")
class TallMasks(Rule):
    """Answer each task with those entries of the summed task vectors that are mostly its own.

    ``theta_0 + m_t tau`` with ``tau = sum_t tau_t`` and ``m_t = [|tau_t| >= threshold * |tau - tau_t|]``:
    besides the sum, a task costs one bit for each weight. Whoever asks says which task it is.

    Parameters
    ----------
    threshold:
        The number lambda: how much larger the others may be, in sum, before an entry is left out.

    Deviation: the source chooses the threshold of each task on validation data, in 0.2 to 0.6; here it is one
    for all, which ``tune`` can choose.

    Source: Wang et al., "Localizing task information for improved model merging and compression", ICML 2024,
    arXiv 2405.07813.

    >>> base, tasks = {"w": torch.zeros(3)}, {"w": torch.tensor([[4.0, 1.0, -1.0], [1.0, 2.0, 1.0]])}
    >>> TallMasks(threshold=1.0).merge(base, tasks)["w"].tolist()
    [[5.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    """

    per_task: ClassVar[bool] = True
    threshold: float = 0.4

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold)

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        own = vectors(base, tasks)
        masks = tall_masks(own, self.threshold)
        return {k: base[k] + torch.where(masks[k], v.sum(0), 0.0) for k, v in own.items()}


def tall_masks(own: Params, threshold: float) -> Params:
    """Tell which entries of the summed task vectors belong to each task, ``[T, ...]`` bool by name."""
    return {k: v.abs() >= threshold * (v.sum(0) - v).abs() for k, v in own.items()}
