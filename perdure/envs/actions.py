"""Actions, and what a policy's outputs say of them: one of several, or real numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.random import Rng


@dataclass(frozen=True)
class Discrete:
    """One of ``n`` actions, ``[...]`` int64; outputs ``[..., n]`` are their logits.

    Parameters
    ----------
    n:
        How many actions there are.
    """

    n: int

    def __post_init__(self) -> None:
        check_whole("the number of actions", self.n, least=2)

    @property
    def outputs(self) -> int:
        """How many outputs a policy has."""
        return self.n

    def draw(self, output: Tensor, rng: Rng) -> Tensor:
        """Return an action for each row of outputs ``[n, outputs]``, drawn as likely as they say."""
        # The first action whose cumulative probability exceeds a uniform number; rounding may keep the last
        # sum below 1, so that one is not asked.
        below = output.softmax(-1).cumsum(-1)[:, :-1]
        return (rng.uniform("action", len(output), 1, dtype=output.dtype) >= below).sum(-1)

    def best(self, output: Tensor) -> Tensor:
        """Return the likeliest action."""
        return output.argmax(-1)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of actions, ``[n]``."""
        return output.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self, output: Tensor) -> Tensor:
        """Entropy of the policy in nats, ``[n]``."""
        logs = output.log_softmax(-1)
        return -(logs.exp() * logs).sum(-1)


@dataclass(frozen=True)
class Continuous:
    """Real numbers in a box, ``[..., d]``; outputs ``[..., 2 d]`` are their means and log deviations.

    The policy is normal and unbounded; an environment cuts actions to the box.

    Parameters
    ----------
    low, high:
        Bounds of each number.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low or len(self.low) != len(self.high):
            raise PerdureError(f"expected a bound below and above each number; found {self.low}, {self.high}")
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise PerdureError(f"expected bounds with low < high; found {self.low}, {self.high}")

    @property
    def d(self) -> int:
        """How many numbers an action has."""
        return len(self.low)

    @property
    def outputs(self) -> int:
        """How many outputs a policy has."""
        return 2 * self.d

    def draw(self, output: Tensor, rng: Rng) -> Tensor:
        """Return an action for each row of outputs ``[n, outputs]``, drawn as likely as they say."""
        mean, deviation = output[:, : self.d], output[:, self.d :].exp()
        return mean + deviation * rng.normal("action", len(output), self.d, dtype=output.dtype)

    def best(self, output: Tensor) -> Tensor:
        """Return the likeliest action."""
        return output[:, : self.d]

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log density of actions, ``[n]``."""
        mean, log = output[:, : self.d], output[:, self.d :]
        each = -0.5 * ((action - mean) * (-log).exp()).square() - log - 0.5 * math.log(2 * math.pi)
        return each.sum(-1)

    def entropy(self, output: Tensor) -> Tensor:
        """Entropy of the policy in nats, ``[n]``."""
        return (output[:, self.d :] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def cut(self, action: Tensor) -> Tensor:
        """Return actions within the box."""
        # Bounds are numbers, not tensors: nothing is brought from the host.
        each = zip(action.unbind(-1), self.low, self.high, strict=True)
        return torch.stack([number.clamp(low, high) for number, low, high in each], -1)


Actions = Discrete | Continuous
