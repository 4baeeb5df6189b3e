"""Projecting conflicting gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.parts.balancing import Rule, balancing_rule


@balancing_rule("pcgrad")
class PCGrad(Rule):
    """Take from each task's gradient what goes against the others', one after the other in random order.

    For each task i: ``d = g_i``; for j in a random order of the other tasks, where ``<d, g_j> < 0``:
    ``d = d - <d, g_j> / |g_j|^2 g_j``. The step is the sum of all d. With two tasks no order is drawn that
    matters, and the step conflicts with neither.

    >>> import torch
    >>> from perdure.core.random import Rng
    >>> zero = torch.tensor(0)
    >>> gram = torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)
    >>> PCGrad().weights(gram, gram[0], {}, Rng(zero, zero)).tolist()
    [2.0, 1.5]

    Source: Yu et al., NeurIPS 2020. Deviations: none.
    """

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        tasks = len(gram)
        order = rng.uniform("order", tasks, tasks).argsort(-1)
        return projected(gram, order).sum(0)


def projected(gram: Tensor, order: Tensor) -> Tensor:
    """Return the weights of each task's projected gradient, a row each, ``[T, T]``.

    Parameters
    ----------
    gram:
        Products of the tasks' gradients, ``[T, T]``.
    order:
        The order in which each task, a row each, goes through the tasks, ``[T, T]``; itself is left out.
    """
    tasks = len(gram)
    own = torch.eye(tasks, dtype=gram.dtype, device=gram.device)
    square = gram.diagonal()
    # Row i, place k: the products with the k-th task of i's order, and the step along its gradient.
    products = gram.index_select(0, order.flatten()).view(tasks, tasks, tasks)
    along = own / torch.where(square > 0, square, 1.0)
    along = along.index_select(0, order.flatten()).view(tasks, tasks, tasks) * (1 - own).unsqueeze(1)
    weights = own
    for product, step in zip(products.unbind(1), along.unbind(1), strict=True):
        conflict = (product * weights).sum(-1, keepdim=True).clamp_max(0.0)
        weights = torch.addcmul(weights, conflict, step, value=-1.0)
    return weights
