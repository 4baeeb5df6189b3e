"""Projecting each gradient on what conflicts with none."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.nonnegative import nonnegative


@balancing_rule("upgrad")
class UPGrad(Rule):
    """Take the mean of the tasks' gradients, each projected on the directions that conflict with no task.

    The nearest d to ``J' u`` with ``J d >= 0``, J the gradients, one a row, is ``J' v`` with v the solution
    of ``min_v v' G v``, every entry at least u's, ``G = J J'``. The step is the mean over tasks of that for
    u one task alone. It conflicts with no task, and scaling one task's loss scales only its share of it.

    >>> import torch
    >>> gram = torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)
    >>> [round(float(w), 4) for w in UPGrad().weights(gram, gram[0], {}, None)]
    [1.0, 0.75]

    Source: Quinton & Rey, arXiv 2406.16232. Deviations: the authors' library adds 1e-4 of the trace to G's
    diagonal; here the projection is exact.
    """

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        each = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return undisputed(gram.expand(len(gram), *gram.shape), each).mean(0)


def undisputed(gram: Tensor, weights: Tensor) -> Tensor:
    """Return the weights of the nearest direction to ``J' w`` that conflicts with no task.

    For each of a batch of problems: products of gradients ``[..., T, T]`` and weights w ``[..., T]``.
    """
    return weights + nonnegative(gram, (gram @ weights.unsqueeze(-1)).squeeze(-1))
