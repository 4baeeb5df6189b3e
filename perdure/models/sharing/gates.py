"""Gates: how much of each expert a task takes, by the sample."""

from __future__ import annotations

import math

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
        return self.logits(x, each).softmax(0)

    def logits(self, x: Tensor, each: bool = False) -> Tensor:
        """Return ``W_g x``, ``[experts, gates, n]``."""
        if each:
            return (self.weight @ x.flatten(2).mT).transpose(0, 1)
        gates, experts, width = self.weight.shape
        rows = self.weight.transpose(0, 1).reshape(experts * gates, width)
        return (rows @ x.flatten(1).mT).view(experts, gates, len(x))


def linear(*shape: int) -> Tensor:
    """Draw weights ``[..., in]`` as torch draws those of a linear layer, uniform in ``+-1 / sqrt(in)``."""
    return torch.empty(shape).uniform_(-1, 1) / math.sqrt(shape[-1])


def mix(shares: Tensor, experts: Tensor) -> Tensor:
    """Return ``sum_e shares[e, g, n] experts[e, n, ...]``, ``[gates, n, ...]``.

    >>> mix(torch.tensor([[[0.25]], [[0.75]]]), torch.tensor([[[4.0]], [[8.0]]]))
    tensor([[[7.]]])
    """
    flat = torch.einsum("egn,enh->gnh", shares, experts.flatten(2))
    return flat.view(shares.shape[1], *experts.shape[1:])


def mix_own(shares: Tensor, experts: Tensor) -> Tensor:
    """Return ``sum_e shares[e, g, n] experts[g, e, n, ...]``, ``[gates, n, ...]``.

    Parameters
    ----------
    shares:
        How much of each of its own experts a gate takes, ``[own, gates, n]``.
    experts:
        Those of the first gate, then those of the second, ..., ``[gates * own, n, ...]``.
    """
    own, gates, n = shares.shape
    flat = torch.einsum("egn,genh->gnh", shares, experts.reshape(gates, own, n, -1))
    return flat.view(gates, *experts.shape[1:])


def for_own(x: Tensor, own: int) -> Tensor:
    """Repeat what goes into each unit, ``[units, n, ...]``, for its experts: ``[units * own, n, ...]``."""
    return x.unsqueeze(1).expand(len(x), own, *x.shape[1:]).flatten(0, 1)
