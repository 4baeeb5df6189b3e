"""Gates: how much of each expert a task takes, by the sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gates(nn.Module):
    """Shares of experts, ``softmax(W_g x)``: non-negative, and 1 together.

    Parameters
    ----------
    gates:
        How many there are, one a task.
    width:
        Length of what they look at.
    experts:
        How many experts each shares out among: ``weight`` is ``[gates, experts, width]``, drawn as torch
        draws a linear layer.
    """

    def __init__(self, gates: int, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear(gates, experts, width))

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Return the shares ``[experts, gates, n]`` for inputs ``[n, ...]``, or ``[gates, n, ...]``.

        Samples come last, as a softmax over a short last axis is many times slower.
        """
        if each:
            return (self.weight @ x.flatten(2).mT).softmax(1).transpose(0, 1)
        gates, experts, width = self.weight.shape
        rows = self.weight.transpose(0, 1).reshape(experts * gates, width)
        return (rows @ x.flatten(1).mT).view(experts, gates, len(x)).softmax(0)


def linear(*shape: int) -> Tensor:
    """Draw weights ``[..., in]`` as torch draws those of a linear layer, uniform in ``+-1 / sqrt(in)``."""
    return torch.empty(shape).uniform_(-1, 1) / max(shape[-1], 1) ** 0.5


def mix(shares: Tensor, experts: Tensor) -> Tensor:
    """Return ``sum_e shares[e, g, n] experts[e, n, ...]``, ``[gates, n, ...]``.

    >>> mix(torch.tensor([[[0.25]], [[0.75]]]), torch.tensor([[[4.0]], [[8.0]]]))
    tensor([[[7.]]])
    """
    flat = torch.einsum("egn,enh->gnh", shares, experts.flatten(2))
    return flat.view(shares.shape[1], *experts.shape[1:])
