"""Multi-gate mixture of experts."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates
from perdure.models.sharing.heads import Heads


class MMoE(nn.Module):
    """Experts that all tasks share, mixed for each: ``f_t = sum_e softmax(W_t x)_e E_e(x)``.

    Parameters
    ----------
    experts:
        The experts E, which make features ``[experts, n, h]``.
    gates:
        A gate ``W_t`` for each task, on the flattened input.
    head:
        The heads.
    """

    headless: ClassVar[bool] = True
    task_specific: ClassVar[tuple[str, ...]] = ("gates.", "head.")

    def __init__(self, experts: Bank, gates: Gates, head: Heads) -> None:
        super().__init__()
        self.experts, self.gates, self.head = experts, gates, head

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        return self.head.of_mixtures(self.gates(x), self.experts(x))
