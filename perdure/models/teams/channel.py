"""Channels of teams: rounds in which every agent says something, and hears some of what the others say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError

# Bits of a number in a message.
FLOAT = 32


class Passage(nn.Module):
    """What messages pass on their way: they stay as they are, and all links too.

    Others stand in its place to listen or to interfere (:mod:`perdure.models.teams.passages`); a channel need
    not know of them.
    """

    def forward(self, messages: Tensor) -> Tensor:
        """Return the messages ``[n, agents, size]`` that arrive."""
        return messages

    def links(self, links: Tensor) -> Tensor:
        """Return how much each agent then hears of each, ``[n, agents, agents]``."""
        return links


class Channel(nn.Module):
    """What agents hear of each other, ``[n, agents, width]``: subclass and say what goes through.

    ``rounds`` times, of an agent's state ``h_j``, which is its own row at first:
    ``m_i = messages(h_i)``, ``a = links(h, m)``, ``h_j <- h_j + tanh(heard(a, m)_j)``. What is heard in all
    is the last ``h_j`` less the first one. It is bounded: a value that is far from 0 would otherwise be
    learned through ever larger messages, which leave no room for what the agents themselves see.

    Parameters
    ----------
    size:
        Numbers in a message.
    rounds:
        How often all speak before they act.
    bits:
        Of a message; by default 32 for each of its numbers.
    """

    def __init__(self, size: int, rounds: int = 1, bits: int | None = None):
        super().__init__()
        self.size, self.rounds = size, rounds
        self.bits = FLOAT * size if bits is None else bits
        self.passage = Passage()

    def forward(self, own: Tensor, pooled: Tensor, present: Tensor) -> Tensor:
        heard = torch.zeros_like(own)
        for _ in range(self.rounds):
            state = own + heard
            messages = self.passage(self.messages(state, pooled))
            links = self.passage.links(self.links(state, messages, present))
            heard = heard + torch.tanh(self.heard(links, messages))
        return heard

    def messages(self, own: Tensor, pooled: Tensor) -> Tensor:
        """Return what each agent says, ``[n, agents, size]``.

        Parameters
        ----------
        own:
            The agents' states, ``[n, agents, width]``.
        pooled:
            Means of what each agent sees, ``[n, agents, width]``.
        """
        raise PerdureError(f"{type(self).__name__} does not say what agents tell: override `messages`")

    def links(self, own: Tensor, messages: Tensor, present: Tensor) -> Tensor:
        """Return how much each agent (row) hears of each (column), ``[n, agents, agents]``; 0 is not at all.

        By default all others equally: ``1 / (N - 1)``, ``N`` the agents that are there, ``present`` bool.
        """
        there = others(present).to(own.dtype)
        return there / there.sum(-1, keepdim=True).clamp_min(1.0)

    def heard(self, links: Tensor, messages: Tensor) -> Tensor:
        """Return what the agents hear in a round, ``[n, agents, width]``: zeros where all links are 0.

        Its hyperbolic tangent is what reaches them.
        """
        raise PerdureError(f"{type(self).__name__} does not say what agents hear: override `heard`")


def others(present: Tensor) -> Tensor:
    """Pairs of different agents that are both there, ``[n, agents, agents]`` bool."""
    other = ~torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    return present.unsqueeze(1) & present.unsqueeze(2) & other
