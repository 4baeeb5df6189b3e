"""A weight as singular triplets: the part that is kept and the part that is trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from perdure.core.batch import Params

Family = Literal["two-sided", "input", "paper"]


class Low(nn.Module):
    """Adds the trained part to what is frozen of a weight: ``base + U diag(S) V``, of no effect at first."""

    def __init__(self, weight: Tensor, free: slice) -> None:
        super().__init__()
        self.u, self.s, self.v = map(nn.Parameter, zeros(weight.detach(), free).values())

    def forward(self, base: Tensor) -> Tensor:
        # Under autocast the sum would be the weight in half precision, added up over all tasks.
        with torch.autocast(base.device.type, enabled=False):
            return base + product({"u": self.u, "s": self.s, "v": self.v}).view(base.shape)


def zeros(weight: Tensor, among: slice) -> Params:
    """Allocate some of the triplets of a weight: ``u [out, r]``, ``s [r]`` and ``v [r, in]``."""
    out, width = weight.flatten(1).shape
    rank = len(range(min(out, width))[among])
    return {"u": weight.new_zeros(out, rank), "s": weight.new_zeros(rank), "v": weight.new_zeros(rank, width)}


def some(factors: Params, mask: Tensor, among: slice) -> Params:
    """Keep the triplets that the mask chooses among some, zeros in place of the others."""
    u, s, v = factors["u"] * mask, factors["s"] * mask, factors["v"] * mask.unsqueeze(-1)
    return {"u": u[:, among], "s": s[among], "v": v[among]}


def product(factors: Params) -> Tensor:
    """Return ``U diag(S) V``, ``[out, in]``."""
    return (factors["u"] * factors["s"]) @ factors["v"]


def free_part(matrix: Tensor, high: Params, family: Family) -> Tensor:
    """Return the part of a matrix that the family leaves free."""
    u, v = high["u"], high["v"]
    right = (matrix @ v.mT) @ v
    if family == "paper":
        return matrix - u @ (u.mT @ right)
    rest = matrix - right
    return rest if family == "input" else rest - u @ (u.mT @ rest)
