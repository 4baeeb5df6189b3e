"""Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Params
from perdure.core.checks import check_number
from perdure.optim.optimizer import OPTIMIZERS, Optimizer


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); weight decay is added to the gradient."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("first", "second")
    decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("beta1", self.beta1, high=1)
        check_number("beta2", self.beta2, high=1)
        check_number("eps", self.eps, ends="()")

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        count = state["count"] + 1
        new: dict[str, Any] = {"first": {}, "second": {}, "count": count}
        moved = {}
        dtype = next(iter(params.values())).dtype
        one = torch.ones((), dtype=torch.float64, device=count.device)
        step = (lr / (1 - torch.pow(one * self.beta1, count))).to(dtype)
        root = (1 - torch.pow(one * self.beta2, count)).sqrt().to(dtype)
        for k, p in params.items():
            g = grads[k]
            if decay is not None:
                if self.decoupled:
                    p = p * (1 - lr * decay).to(dtype)
                else:
                    g = torch.addcmul(g, p, decay)
            first = torch.lerp(state["first"][k], g, 1 - self.beta1)
            second = torch.addcmul(state["second"][k] * self.beta2, g, g, value=1 - self.beta2)
            new["first"][k], new["second"][k] = first, second
            moved[k] = torch.addcdiv(p, step * first, second.sqrt() / root + self.eps, value=-1.0)
        return moved, new
