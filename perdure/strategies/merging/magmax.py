"""MagMax: the entry that moved furthest."""

from __future__ import annotations

import torch

from perdure.core.batch import Params, State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, move, rule, vectors


@rule("magmax")
class MagMax(Streaming):
    """Of each entry, the change of largest magnitude: ``theta_0 + scale * tau_[argmax_t |tau_t|]``.

    Made for sequential fine-tuning, ``merge(rule=magmax, start=previous)``: each model then goes on from the
    last one, and task vectors hold all that was learned until then. Of equal magnitudes the first counts.

    Parameters
    ----------
    scale:
        The factor lambda of the merged vector.

    Source: Marczak et al., "MagMax", ECCV 2024, arXiv 2407.06322.

    >>> base, tasks = {"w": torch.zeros(3)}, {"w": torch.tensor([[1.0, -3.0, 0.5], [-2.0, 1.0, 0.0]])}
    >>> MagMax().merge(base, tasks)["w"].tolist()
    [-2.0, -3.0, 0.5]
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("scale", self.scale)

    def begin(self, base: Params) -> State:
        return {"largest": {k: torch.zeros_like(v) for k, v in base.items()}}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        new = vectors(base, task)
        return {
            "largest": {
                k: torch.where(new[k].abs() > v.abs(), new[k], v) for k, v in state["largest"].items()
            }
        }

    def read(self, base: Params, state: State) -> Params:
        return move(base, state["largest"], self.scale)

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        largest = {
            k: v.gather(0, v.abs().argmax(0, keepdim=True))[0] for k, v in vectors(base, tasks).items()
        }
        return move(base, largest, self.scale)
