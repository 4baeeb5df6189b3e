"""Actions, and what a policy's outputs say of them: one of several, real numbers, or one for each agent."""

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

    @property
    def parts(self) -> tuple[int, ...]:
        """Shape of one action, which is a number."""
        return ()

    def logits(self, output: Tensor) -> Tensor:
        """Return the logits of the actions, ``[..., n]``."""
        return output

    def draw(self, output: Tensor, rng: Rng) -> Tensor:
        """Return an action for each row of outputs ``[n, outputs]``, drawn as likely as they say."""
        # The first action whose cumulative probability exceeds a uniform number; rounding may keep the last
        # sum below 1, so that one is not asked.
        below = self.logits(output).softmax(-1).cumsum(-1)[:, :-1]
        return (rng.uniform("action", len(output), 1, dtype=output.dtype) >= below).sum(-1)

    def best(self, output: Tensor) -> Tensor:
        """Return the likeliest action."""
        return self.logits(output).argmax(-1)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of actions, ``[n]``."""
        return self.logits(output).log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def log_probs(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of each decision: there is one, ``[n]``."""
        return self.log_prob(output, action)

    def entropy(self, output: Tensor) -> Tensor:
        """Entropy of the policy in nats, ``[n]``."""
        logs = self.logits(output).log_softmax(-1)
        return -(logs.exp() * logs).sum(-1)


@dataclass(frozen=True)
class PaddedDiscrete(Discrete):
    """One of ``n`` actions, in a stream of which some tasks have more; outputs ``[..., most]``.

    The first ``n`` outputs are the logits. Those behind them are of actions that are not there: these are
    never taken and have probability 0, and their outputs get no gradient.

    Parameters
    ----------
    n:
        How many actions there are.
    most:
        How many outputs a policy has, at least ``n``.

    Examples
    --------
    >>> PaddedDiscrete(2, most=3).entropy(torch.zeros(1, 3)).exp()
    tensor([2.])
    """

    most: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("the number of outputs", self.most, least=self.n)

    @property
    def outputs(self) -> int:
        return self.most

    def logits(self, output: Tensor) -> Tensor:
        return output[..., : self.n]


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

    @property
    def parts(self) -> tuple[int, ...]:
        """Shape of one action."""
        return (self.d,)

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

    def log_probs(self, output: Tensor, action: Tensor) -> Tensor:
        """Log density of each decision: there is one, ``[n]``."""
        return self.log_prob(output, action)

    def entropy(self, output: Tensor) -> Tensor:
        """Entropy of the policy in nats, ``[n]``."""
        return (output[:, self.d :] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def cut(self, action: Tensor) -> Tensor:
        """Return actions within the box."""
        # Bounds are numbers, not tensors: nothing is brought from the host.
        each = zip(action.unbind(-1), self.low, self.high, strict=True)
        return torch.stack([number.clamp(low, high) for number, low, high in each], -1)


@dataclass(frozen=True)
class Team:
    """One of ``n`` actions for each of several agents, ``[..., agents]`` int64, which each draws by itself.

    Outputs ``[..., agents n]`` are the logits of the first agent's actions, then those of the second's, ...

    Parameters
    ----------
    agents:
        How many there are.
    n:
        How many actions each has.
    """

    agents: int
    n: int

    def __post_init__(self) -> None:
        check_whole("the number of agents", self.agents)
        check_whole("the number of actions", self.n, least=2)

    @property
    def outputs(self) -> int:
        """How many outputs a policy has."""
        return self.agents * self.n

    @property
    def parts(self) -> tuple[int, ...]:
        """Shape of one action."""
        return (self.agents,)

    @property
    def each(self) -> Discrete:
        """The actions of one agent."""
        return Discrete(self.n)

    def logits(self, output: Tensor) -> Tensor:
        """Return the outputs by agent, ``[..., agents, n]``."""
        return output.view(*output.shape[:-1], self.agents, self.n)

    def draw(self, output: Tensor, rng: Rng) -> Tensor:
        """Return an action of each agent for each row of outputs, drawn as likely as they say."""
        return self.each.draw(self.logits(output).flatten(0, 1), rng).view(-1, self.agents)

    def best(self, output: Tensor) -> Tensor:
        """Return the likeliest action of each agent."""
        return self.logits(output).argmax(-1)

    def log_probs(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of each agent's action, ``[n, agents]``."""
        return self.each.log_prob(self.logits(output), action)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of what all agents do, ``[n]``."""
        return self.log_probs(output, action).sum(-1)

    def entropies(self, output: Tensor) -> Tensor:
        """Entropy of each agent's policy in nats, ``[n, agents]``."""
        return self.each.entropy(self.logits(output))

    def entropy(self, output: Tensor) -> Tensor:
        """Entropy of what all agents do, ``[n]``."""
        return self.entropies(output).sum(-1)


Actions = Discrete | Continuous | Team
