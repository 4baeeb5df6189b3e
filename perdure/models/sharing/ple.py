"""Progressive layered extraction: levels of experts of each task's own beside shared ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates, for_own, mix, mix_own
from perdure.models.sharing.heads import Heads
from perdure.models.sharing.levels import Levels


class Extraction(nn.Module):
    """One level: each task mixes its own experts and the shared ones; what is shared mixes all.

    Parameters
    ----------
    own:
        Experts of the tasks, ``tasks * own_each``: those of the first, then those of the second, ...
    shared:
        Experts that all tasks share.
    tasks:
        How many tasks there are.
    width:
        How many numbers go in.
    goes_on:
        Whether another level follows, which needs what is shared.
    """

    def __init__(self, own: Bank, shared: Bank, tasks: int, width: int, goes_on: bool) -> None:
        super().__init__()
        self.own, self.shared = own, shared
        self.own_each = len(own) // tasks
        self.gates = Gates(tasks, width, self.own_each + len(shared))
        self.common = Gates(1, width, len(own) + len(shared)) if goes_on else None

    def forward(self, x: Tensor, common: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what each task makes, ``[tasks, n, ...]``, and what is shared, ``[n, ...]``.

        Parameters
        ----------
        x:
            Inputs ``[n, ...]``, or those of each task, ``[tasks, n, ...]``.
        common:
            Where tasks have inputs of their own, that of the shared experts, ``[n, ...]``.
        """
        each = common is not None
        shared_input = x if common is None else common
        own = self.own(for_own(x, self.own_each) if each else x, each)
        shared = self.shared(shared_input)
        shares = self.gates(x, each)
        mixed = mix_own(shares[: self.own_each], own) + mix(shares[self.own_each :], shared)
        if self.common is None:
            return mixed, None
        return mixed, mix(self.common(shared_input), torch.cat([own, shared]))[0]


class PLE(Levels):
    """Levels of :class:`Extraction`, and heads."""

    def __init__(self, levels: Sequence[Extraction], head: Heads) -> None:
        super().__init__(levels, head)
        # What one task alone depends on: below the last level, experts of a task reach the others' through
        # what is shared.
        last = len(levels) - 1
        below = (f"levels.{last - 1}.gates.",) if last else ()
        self.task_specific = (*below, f"levels.{last}.own.", f"levels.{last}.gates.", "head.")

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        common = None
        for level in self.levels:
            x, common = level(x, common)
        return self.head(x)  # type: ignore[no-any-return]
