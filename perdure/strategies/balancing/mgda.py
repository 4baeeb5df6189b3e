"""The shortest step between the gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import normalised
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.nonnegative import nonnegative


@balancing_rule("mgda")
class MGDA(Rule):
    """Take the shortest of all weighted means of the tasks' gradients.

    ``min_w |sum_t w_t g_t|^2`` over w at least 0 that sum to 1. The step conflicts with no task; it is 0
    where no direction is better for all (a Pareto-stationary point).

    Solved exactly: with G the products of the gradients, w is the solution of
    ``min_v v' (G + 1 1') v / 2 - 1' v`` over v at least 0, divided by its sum.

    >>> import torch
    >>> gram = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    >>> [round(float(w), 4) for w in MGDA().weights(gram, gram[0], {}, None)]
    [0.8, 0.2]

    Source: Désidéri, C. R. Math. 2012; Sener & Koltun, NeurIPS 2018. Deviations: the latter take some steps
    of Frank-Wolfe.
    """

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        return shortest_mean(normalised(gram))


def shortest_mean(gram: Tensor) -> Tensor:
    """Return the weights of the shortest weighted mean, ``[T]``, from products of gradients of trace 1."""
    found = nonnegative(gram + 1.0, -torch.ones_like(gram[0]))
    return found / found.sum()
