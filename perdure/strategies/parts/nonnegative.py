"""Quadratic problems over numbers that may not be negative."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.strategies.parts.node import one_node


@one_node("nonnegative")
def nonnegative(gram: Tensor, linear: Tensor) -> Tensor:
    """Minimise ``w' A w / 2 + c' w`` over ``w >= 0`` exactly, for a batch of small problems.

    The active-set method of Lawson & Hanson (1974) in terms of the positive semi-definite A
    ``[..., n, n]`` and of c ``[..., n]`` in the range of A. Its number of rounds depends on the values.
    """
    size = linear.shape[-1]
    a, c = gram.reshape(-1, size, size), linear.reshape(-1, size)
    # Tasks' gradients differ in length by orders of magnitude: solve for rows of unit length.
    length = a.diagonal(dim1=-2, dim2=-1).sqrt()
    unit = 1.0 / torch.where(length > 0, length, 1.0)
    a, c = a * unit.unsqueeze(-1) * unit.unsqueeze(-2), c * unit
    w, free = torch.zeros_like(c), torch.zeros_like(c, dtype=torch.bool)
    tolerance = 1e-12 * c.abs().amax(-1)
    index = torch.arange(size, device=c.device)
    for _ in range(3 * size):
        descent = -(a @ w.unsqueeze(-1)).squeeze(-1) - c
        most = torch.where(free, -torch.inf, descent).max(-1)
        grows = most.values > tolerance
        if not bool(grows.any()):
            break
        free = free | (grows.unsqueeze(-1) & (index == most.indices.unsqueeze(-1)))
        w, free = _settle(a, c, w, free)
    return (w * unit).view_as(linear)


def _settle(a: Tensor, c: Tensor, w: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise over the free entries, giving up those that would turn negative."""
    eye = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device)
    for _ in range(c.shape[-1]):
        both = free.unsqueeze(-1) & free.unsqueeze(-2)
        # Equal rows, which rounding may let in, must not leave a singular system.
        system = torch.where(both, a + 1e-14 * eye, eye)
        goal = torch.linalg.solve_ex(system, torch.where(free, -c, 0.0).unsqueeze(-1))[0].squeeze(-1)
        bad = free & (goal <= 0)
        if not bool(bad.any()):
            return goal, free
        ratio = torch.where(bad, w / (w - goal).clamp_min(1e-300), torch.inf)
        step = ratio.amin(-1, keepdim=True).clamp_max(1.0)
        w = w + step * (goal - w)
        free = free & ~(bad & (ratio <= step)) & (w > 0)
        w = torch.where(free, w, 0.0)
    return w, free
