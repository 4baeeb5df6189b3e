"""Optimisers as pure functions of one replica, with a learning rate that may differ by replica.

The update rules are those of ``torch.optim``; the tests compare whole trajectories with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Params
from perdure.core.errors import PerdureError
from perdure.core.registry import Registry

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


@dataclass(frozen=True)
class Optimizer:
    """One update of the parameters. ``lr`` and ``decay`` are 0-d tensors of the replica."""

    slots: ClassVar[tuple[str, ...]] = ()

    def init(self, params: Params) -> dict[str, Any]:
        """Allocate what the optimiser remembers: a tensor like each parameter per slot, and a step count."""
        state: dict[str, Any] = {s: {k: torch.zeros_like(p) for k, p in params.items()} for s in self.slots}
        if self.slots:
            state["count"] = torch.zeros((), dtype=torch.int64, device=next(iter(params.values())).device)
        return state

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        """Return the new parameters and the new memory."""
        raise PerdureError(f"{type(self).__name__} does not say how to update: override `update`")
