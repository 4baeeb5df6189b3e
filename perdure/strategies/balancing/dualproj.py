"""Projecting the mean gradient on what conflicts with none."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.balancing.upgrad import undisputed
from perdure.strategies.parts.balancing import Rule, balancing_rule


@balancing_rule("dualproj")
class DualProj(Rule):
    """Take the nearest direction to the mean of the tasks' gradients that conflicts with no task.

    As :class:`perdure.strategies.GEM` corrects its step, with all tasks in the place of the past ones.

    >>> import torch
    >>> gram = torch.tensor([[1.0, -2.0], [-2.0, 5.0]], dtype=torch.float64)
    >>> [round(float(w), 4) for w in DualProj().weights(gram, gram[0], {}, None)]
    [1.0, 0.5]

    Source: Lopez-Paz & Ranzato, NeurIPS 2017, equation 11. Deviations: none.
    """

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        return undisputed(gram, torch.full_like(gram[0], 1.0 / len(gram)))
