"""The layer of SMoRA: a low-rank change, each rank of which is an expert that a gate chooses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SMoRALinear(nn.Module):
    """``y = W0 x + b + scale * B (g(x) * A x)``: g is zero but for the ranks that are active.

    Parameters
    ----------
    base:
        The linear layer, W0 and b.
    rank, active:
        Number of ranks r, and how many of them are active for each sample.
    scale:
        As in the formula.

    ``down`` is A ``[r, in]`` and ``gate`` ``[r, in]`` the gate, drawn as torch draws a linear layer; ``up``
    is B ``[out, r]``, zero; ``balance`` ``[r]``, zero, is added to the scores where ranks are chosen, see
    :func:`choose`.
    """

    def __init__(self, base: nn.Linear, rank: int, active: int, scale: float) -> None:
        super().__init__()
        like, (out, width) = base.weight.detach(), base.weight.shape
        self.base, self.active, self.scale = base, active, scale
        self.down = nn.Parameter(like.new_empty(rank, width).uniform_(-1, 1) / width**0.5)
        self.up = nn.Parameter(like.new_zeros(out, rank))
        self.gate = nn.Parameter(like.new_empty(rank, width).uniform_(-1, 1) / width**0.5)
        self.balance = nn.Parameter(like.new_zeros(rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ..., in]`` to ``[n, ..., out]``."""
        scores, chosen = choose(x, self.gate, self.balance, self.active)
        change = (scores * chosen * (x @ self.down.mT)) @ self.up.mT
        return self.base(x) + self.scale * change  # type: ignore[no-any-return]


def choose(x: Tensor, gate: Tensor, balance: Tensor, active: int) -> tuple[Tensor, Tensor]:
    """Return the scores of the ranks, ``softmax(gate x)``, and 1 for those chosen, else 0, ``[..., r]`` both.

    Chosen are the ``active`` ranks with the highest sum of score and ``balance``.

    Parameters
    ----------
    x:
        What goes into the layer, ``[..., in]``.
    gate, balance, active:
        As in :class:`SMoRALinear`.

    Examples
    --------
    >>> scores, chosen = choose(torch.tensor([1.0]), torch.tensor([[2.0], [1.0]]), torch.zeros(2), 1)
    >>> chosen
    tensor([1., 0.])
    """
    scores = (x @ gate.mT).softmax(-1)
    at = (scores.detach() + balance.detach()).topk(active, -1).indices
    return scores, torch.zeros_like(scores.detach()).scatter(-1, at, 1.0)
