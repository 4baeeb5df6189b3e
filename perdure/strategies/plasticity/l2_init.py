"""Regularisation towards the weights at the start."""

from __future__ import annotations

from typing import ClassVar

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number
from perdure.core.net import Net
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy


@strategy("l2-init")
class L2Init(Strategy):
    """Pull every weight towards its value at the start, from which learning was possible.

    Minimised beside the loss: ``strength * sum_k (theta_k - theta_0,k)^2``, with theta_0 the weights before
    any training; its gradient is ``2 * strength * (theta - theta_0)``. Weights that the loss of late does not
    depend on drift back to where they began. Weight decay (``weight_decay`` of a run) pulls to zero instead.

    Parameters
    ----------
    strength:
        Weight of the penalty (lambda in the paper, which tries 1e-5 to 1e-2 with Adam). Without a loss, a
        step of SGD takes away the share ``2 * lr * strength`` of the distance.

    Source: Kumar, Marklund & Van Roy, "Maintaining plasticity in continual learning via regenerative
    regularization", arXiv 2308.11958 (2023). As there, the penalty has no half, and it is on all weights.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength",)
    strength: float = 0.001

    def __post_init__(self) -> None:
        check_number("strength", self.strength)

    def init(self, net: Net, params: Params, stream: object) -> State:
        return {"start": {k: p.clone() for k, p in params.items()}}

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return {k: g + 2 * self.strength * (params[k] - state["start"][k]) for k, g in grads.items()}
