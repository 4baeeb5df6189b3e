"""Deep safe multi-task learning: a public model, and a private one for each task."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.heads import Heads


class DSMTL(nn.Module):
    """Mixes a public and a private answer: ``y_t = a_t public_t(x) + (1 - a_t) private_t(x)``.

    ``a_t`` is the sigmoid of a trained number, ``balance [tasks]``, which starts at 0: both count alike.

    Parameters
    ----------
    public:
        The trunk that all tasks share.
    private:
        A trunk for each task.
    head, private_head:
        Heads on the public and on the private features.
    """

    headless: ClassVar[bool] = True
    task_specific: ClassVar[tuple[str, ...]] = ("private.", "balance", "head.", "private_head.")

    def __init__(self, public: nn.Module, private: Bank, head: Heads, private_head: Heads) -> None:
        super().__init__()
        self.public, self.private = public, private
        self.head, self.private_head = head, private_head
        self.balance = nn.Parameter(torch.zeros(len(private)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        features = self.public(x)
        public = self.head(features.expand(len(self.private), *features.shape))
        # Each output has the share of its task.
        share = self.head.owner @ self.balance.sigmoid()
        return share * public + (1 - share) * self.private_head(self.private(x))  # type: ignore[no-any-return]
