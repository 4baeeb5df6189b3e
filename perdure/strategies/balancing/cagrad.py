"""The best step for the worst-off task, near the mean gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import normalised
from perdure.strategies.balancing.mgda import shortest_mean
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.node import one_node

# Of the root of the sum of the gradients' squares: a shorter weighted mean counts as none.
LEAST = 1e-6
ROUNDS, CLOSE = 30, 1e-16


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
        # Where a weighted mean vanishes, what is minimised has a kink there, which the method cannot reach.
        shortest = shortest_mean(gram)
        lower = _worth(shortest, gram, mean, radius) < _worth(share, gram, mean, radius)
        share = torch.where(lower, shortest, share)
        length = (share @ gram @ share).clamp_min(0.0).sqrt()
        some = length > LEAST
        weights = 1.0 / len(gram) + radius / torch.where(some, length, 1.0) * share
        return torch.where(some | (radius == 0), weights, 0.0)


def _worth(share: Tensor, gram: Tensor, mean: Tensor, radius: Tensor) -> Tensor:
    return share @ mean + radius * (share @ gram @ share).clamp_min(0.0).sqrt()


@one_node("worst_mean")
def worst_mean(gram: Tensor, linear: Tensor, radius: Tensor) -> Tensor:
    """Minimise ``b' w + r sqrt(w' A w)`` over w at least 0 and of sum 1, for a batch of small problems.

    A primal-dual interior-point method in terms of the positive semi-definite A ``[..., n, n]``, of
    b ``[..., n]`` and r ``[...]``, all of the order of 1 or less. Each problem stops where it is solved.
    """
    size = linear.shape[-1]
    a, b, r = gram.reshape(-1, size, size), linear.reshape(-1, size), radius.reshape(-1, 1)
    w, z = torch.full_like(b, 1.0 / size), torch.ones_like(b)
    system = a.new_ones(len(a), size + 1, size + 1)
    system[:, -1, -1] = 0.0
    for _ in range(ROUNDS):
        gap = (w * z).mean(-1, keepdim=True)
        open_ones = gap > CLOSE
        if not bool(open_ones.any()):
            break
        along = (a @ w.unsqueeze(-1)).squeeze(-1)
        # The length has a slope at 0 as well: it is smoothed, the less the nearer the solution.
        square = (w * along).sum(-1, keepdim=True).clamp_min(0.0)
        length = (square + gap.clamp_min(CLOSE)).sqrt()
        unit = along / length
        bend = (r / length).unsqueeze(-1) * (a - unit.unsqueeze(-1) * unit.unsqueeze(-2))
        system[:, :size, :size] = bend + torch.diag_embed(z / w)
        # The multiplier of the sum is solved for anew in each round; the sum is 1 from the start.
        right = torch.cat([0.1 * gap / w - b - r * unit, torch.zeros_like(gap)], -1)
        step = torch.linalg.solve_ex(system, right.unsqueeze(-1))[0].squeeze(-1)[:, :size]
        other = (0.1 * gap - z * step) / w - z
        w = torch.where(open_ones, w + step * _within(w, step), w)
        z = torch.where(open_ones, z + other * _within(z, other), z)
    return w.view_as(linear)


def _within(value: Tensor, step: Tensor) -> Tensor:
    """Return the share of a step after which all values are still positive, at most 1."""
    limit = torch.where(step < 0, -value / torch.where(step < 0, step, -1.0), torch.inf)
    return (0.95 * limit.amin(-1, keepdim=True)).clamp_max(1.0)
