"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.batch import Params
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.optim.optimizer import OPTIMIZERS, Optimizer


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """``v = momentum v + g + decay p;  p = p - lr v`` (with Nesterov: ``p - lr (g + momentum v)``)."""

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, high=1)
        if self.nesterov and not self.momentum:
            raise PerdureError("nesterov needs momentum; found momentum=0, with which it changes nothing")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, when there is momentum."""
        return ("velocity",) if self.momentum else ()

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        new: dict[str, Any] = {"velocity": {}, "count": state["count"] + 1} if self.momentum else {}
        moved = {}
        for k, p in params.items():
            g = grads[k] if decay is None else torch.addcmul(grads[k], p, decay)
            if self.momentum:
                v = torch.add(g, state["velocity"][k], alpha=self.momentum)
                new["velocity"][k] = v
                g = torch.add(g, v, alpha=self.momentum) if self.nesterov else v
            moved[k] = torch.addcmul(p, g, lr.to(p.dtype), value=-1.0)
        return moved, new
