"""The best step for the worst-off task, near the mean gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import normalised
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.node import one_node

# Of the root of the sum of the gradients' squares: a shorter weighted mean counts as none.
LEAST = 1e-4
# Added to the square of a length whose root is taken, so that it has a slope at 0.
SMOOTH = 1e-16
ROUNDS, CLOSE = 50, 1e-13


@balancing_rule("cagrad")
class CAGrad(Rule):
    """Conflict-averse gradient descent: help the task that gains least, not far from the mean gradient.

    With g_0 the mean gradient, ``max_d min_t <g_t, d>`` over ``|d - g_0| <= c |g_0|``. The solution is
    ``d = g_0 + c |g_0| g_w / |g_w|`` with ``g_w = sum_t w_t g_t`` and w that of
    ``min_w <g_w, g_0> + c |g_0| |g_w|``, w at least 0 and of sum 1. Where g_w vanishes, no direction is
    better for all tasks, and the step is 0.

    Parameters
    ----------
    c:
        Radius of the ball, as a share of the mean gradient's length: 0 is the mean itself; the larger, the
        nearer to :class:`MGDA`.

    Source: Liu et al., NeurIPS 2021. Deviations: w is found by an interior-point method, to machine
    precision; the authors' code stops short, and divides the step by ``1 + c^2``.
    """

    c: float = 0.4

    def __post_init__(self) -> None:
        check_number("c", self.c)

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        gram = normalised(gram)
        mean = gram.mean(0)
        radius = self.c * mean.mean().clamp_min(0.0).sqrt()
        share = worst_mean(gram, mean, radius)
        length = (share @ gram @ share).clamp_min(0.0).sqrt()
        some = length > LEAST
        weights = 1.0 / len(gram) + radius / torch.where(some, length, 1.0) * share
        return torch.where(some, weights, 0.0)


@one_node("worst_mean")
def worst_mean(gram: Tensor, linear: Tensor, radius: Tensor) -> Tensor:
    """Minimise ``b' w + r sqrt(w' A w)`` over w at least 0 and of sum 1, for a batch of small problems.

    A primal-dual interior-point method in terms of the positive semi-definite A ``[..., n, n]``, of
    b ``[..., n]`` and r ``[...]``, all of the order of 1 or less.
    """
    size = linear.shape[-1]
    a, b, r = gram.reshape(-1, size, size), linear.reshape(-1, size), radius.reshape(-1, 1)
    w, z = torch.full_like(b, 1.0 / size), torch.ones_like(b)
    system = a.new_ones(len(a), size + 1, size + 1)
    system[:, -1, -1] = 0.0
    for _ in range(ROUNDS):
        gap = (w * z).mean(-1, keepdim=True)
        if bool((gap < CLOSE).all()):
            break
        along = (a @ w.unsqueeze(-1)).squeeze(-1)
        length = ((w * along).sum(-1, keepdim=True).clamp_min(0.0) + SMOOTH).sqrt()
        unit = along / length
        bend = (r / length).unsqueeze(-1) * (a - unit.unsqueeze(-1) * unit.unsqueeze(-2))
        system[:, :size, :size] = bend + torch.diag_embed(z / w)
        # The multiplier of the sum is solved for anew in each round; the sum is 1 from the start.
        right = torch.cat([0.1 * gap / w - b - r * unit, torch.zeros_like(gap)], -1)
        step = torch.linalg.solve_ex(system, right.unsqueeze(-1))[0].squeeze(-1)[:, :size]
        other = (0.1 * gap - z * step) / w - z
        w, z = w + step * _within(w, step), z + other * _within(z, other)
    return w.view_as(linear)


def _within(value: Tensor, step: Tensor) -> Tensor:
    """Return the share of a step after which all values are still positive, at most 1."""
    limit = torch.where(step < 0, -value / torch.where(step < 0, step, -1.0), torch.inf)
    return (0.95 * limit.amin(-1, keepdim=True)).clamp_max(1.0)
