"""Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perdure.optim.adam import Adam
from perdure.optim.optimizer import OPTIMIZERS


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): ``p = (1 - lr decay) p`` first."""

    decoupled: ClassVar[bool] = True
