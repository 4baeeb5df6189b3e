"""The plain sum."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.parts.balancing import Needs, Rule, balancing_rule


@balancing_rule("equal")
class Equal(Rule):
    """Every task has weight 1: what other rules are held against.

    >>> import torch
    >>> Equal().weights(torch.zeros(0), torch.tensor([1.0, 9.0]), {}, None).tolist()
    [1.0, 1.0]
    """

    needs: ClassVar[Needs] = "losses"

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        return torch.ones_like(losses)
