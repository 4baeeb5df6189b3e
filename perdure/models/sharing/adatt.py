"""Adaptive task-to-task fusion: levels at which each task takes of the experts of all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates, for_own, mix, mix_own
from perdure.models.sharing.heads import Heads
from perdure.models.sharing.levels import Levels


class Fusion(nn.Module):
    """One level: each task mixes the experts of all by the sample, and adds its own at fixed weights.

    ``f_t = sum_e softmax(W_t x_t)_e E_e(x_e) + sum_{e of t} v_{t,e} E_e(x_t)``; the v are trained and start
    at ``1 / own``. What is shared, if there are shared experts and another level follows, is one task more.

    Parameters
    ----------
    experts:
        Those of the first task, then those of the second, ..., then shared ones.
    tasks, own:
        How many tasks there are, and experts of each.
    width:
        How many numbers go in.
    goes_on:
        Whether another level follows.
    """

    def __init__(self, experts: Bank, tasks: int, own: int, width: int, goes_on: bool) -> None:
        super().__init__()
        self.experts, self.own = experts, own
        self.shared = len(experts) - tasks * own
        self.gates = Gates(tasks, width, len(experts))
        self.kept = nn.Parameter(torch.full((tasks, own), 1 / own))
        self.common: Gates | None = None
        if goes_on and self.shared:
            self.common = Gates(1, width, len(experts))
            self.kept_common = nn.Parameter(torch.full((1, self.shared), 1 / self.shared))

    def forward(self, x: Tensor, common: Tensor | None = None, each: bool = False) -> Tensor:
        """Return what each task makes, and behind it what is shared, ``[tasks (+ 1), n, ...]``.

        Parameters
        ----------
        x:
            Inputs ``[n, ...]``, or those of each task, ``[tasks, n, ...]``.
        common:
            Where tasks have inputs of their own, that of the shared experts, ``[n, ...]``.
        each:
            Whether tasks have inputs of their own.
        """
        experts = self.experts(self._inputs(x, common) if each else x, each)
        tasks = self.kept.shape[0]
        shares = self.gates(x, each)
        mixed = mix(shares, experts) + self._kept(self.kept, experts[: tasks * self.own])
        if self.common is None:
            return mixed
        shares = self.common(x if common is None else common)
        kept = self._kept(self.kept_common, experts[tasks * self.own :])
        return torch.cat([mixed, mix(shares, experts) + kept])

    def _inputs(self, x: Tensor, common: Tensor | None) -> Tensor:
        """Return what goes into each expert, ``[experts, n, ...]``."""
        own = for_own(x, self.own)
        return own if common is None else torch.cat([own, common.expand(self.shared, *common.shape)])

    @staticmethod
    def _kept(weights: Tensor, experts: Tensor) -> Tensor:
        shares = weights.mT.unsqueeze(-1).expand(weights.shape[1], weights.shape[0], experts.shape[1])
        return mix_own(shares, experts)


class AdaTT(Levels):
    """Levels of :class:`Fusion`, and heads."""

    def __init__(self, levels: Sequence[Fusion], head: Heads) -> None:
        super().__init__(levels, head)
        # What one task alone depends on: the experts of all reach every task.
        last = len(levels) - 1
        self.task_specific = (f"levels.{last}.gates.", f"levels.{last}.kept", "head.")

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        first, *others = self.levels
        units = first(x)
        for before, level in zip(self.levels, others, strict=False):
            if before.common is None:
                units = level(units, each=True)
            else:
                units = level(units[:-1], units[-1], each=True)
        return self.head(units)  # type: ignore[no-any-return]
