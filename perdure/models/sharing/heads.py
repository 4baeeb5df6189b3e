"""Heads: from the features of each task to the outputs of all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perdure.core.errors import PerdureError
from perdure.models.sharing.gates import linear, mix


class Heads(nn.Module):
    """A linear head for each task, behind a tower if asked: ``y_o = w_o . f_t(o) + b_o``.

    ``t(o)`` is the task that output o belongs to and f_t its features. A tower is layers
    ``ReLU(V_t f + c_t)`` of the task's own. Everything is drawn as torch draws linear layers. An
    output of no task is 0.

    Parameters
    ----------
    owned:
        The outputs of each task; none of two.
    outputs:
        How many there are.
    width:
        Width h of the features: ``weight`` is ``[outputs, h]``, ``bias`` is ``[outputs]``.
    towers:
        Width of each layer of the towers.
    """

    owner: Tensor

    def __init__(
        self, owned: Sequence[Sequence[int]], outputs: int, width: int, towers: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.width = width
        self.towers = nn.ModuleList()
        for wide in towers:
            self.towers.append(Tower(len(owned), width, wide))
            width = wide
        self.weight = nn.Parameter(linear(outputs, width))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-1, 1) / width**0.5)
        owner = torch.zeros(outputs, len(owned))
        for t, some in enumerate(owned):
            owner[list(some), t] = 1.0
        self.register_buffer("owner", owner)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs ``[n, outputs]`` for the features of each task, ``[tasks, n, h]``."""
        self._check(features)
        for tower in self.towers:
            features = tower(features)
        # One product for all tasks: each row of weights meets the features of its own task, zeros the others.
        rows = self.owner.unsqueeze(-1) * self.weight.unsqueeze(1)
        return F.linear(features.transpose(0, 1).flatten(1), rows.flatten(1), self._offsets())

    def of_mixtures(self, shares: Tensor, experts: Tensor) -> Tensor:
        """Return the outputs ``[n, outputs]`` for features that are mixtures of experts.

        Heads are linear: without towers the outputs of each expert are mixed, which are fewer than features.

        Parameters
        ----------
        shares:
            How much of each expert a task takes, ``[experts, tasks, n]``.
        experts:
            Their features, ``[experts, n, h]``.
        """
        self._check(experts)
        if len(self.towers):
            return self.forward(mix(shares, experts))
        of_experts = self.weight @ experts.mT
        outputs: Tensor = ((self.owner @ shares) * of_experts).sum(0).mT + self._offsets()
        return outputs

    def _check(self, features: Tensor) -> None:
        if features.ndim != 3 or features.shape[-1] != self.width:
            raise PerdureError(
                f"expected {self.width} features of each sample below the head; found a shape "
                f"{tuple(features.shape[2:])}"
            )

    def _offsets(self) -> Tensor:
        """Return the biases, 0 for an output of no task."""
        offsets: Tensor = self.owner.sum(1) * self.bias
        return offsets


class Tower(nn.Module):
    """One layer ``ReLU(V_t f + c_t)`` for each task.

    Parameters
    ----------
    tasks, width, wide:
        ``weight`` is ``[tasks, wide, width]``, ``bias`` is ``[tasks, wide]``.
    """

    def __init__(self, tasks: int, width: int, wide: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear(tasks, wide, width))
        self.bias = nn.Parameter(torch.empty(tasks, wide).uniform_(-1, 1) / width**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``[tasks, n, wide]`` for features ``[tasks, n, width]``."""
        return (features @ self.weight.mT + self.bias.unsqueeze(1)).relu()
