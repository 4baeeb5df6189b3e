"""Messages of what all entities look like, pruned by attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from perdure.models.teams.channel import Channel, others
from perdure.models.teams.team_net import NEVER, scaled

# No sum of shares that are kept is smaller, but where none is.
TINY = 1e-9


class Pruned(Channel):
    """Messages ``m_i`` of the mean of an agent's entities; agents hear those that they attend to.

    ``a_ji = softmax over i != j of (W_q h_j . W_k m_i / sqrt(width))``; of each share only what is over
    ``threshold / (N - 1)`` is left, ``N`` the agents that are there, and what is left is scaled to sum to 1:
    ``b_ji = max(a_ji - threshold / (N - 1), 0) / sum over i``. So a link fades before it is cut, and a small
    step of learning changes little of what is heard. Agent ``j`` hears ``tanh(sum over i of b_ji W_v m_i)``.
    """

    def __init__(self, width: int, message: int, threshold: float, choices: int):
        super().__init__(message)
        self.threshold = threshold
        self.say = scaled(nn.Linear(width, message), 1.0)
        self.query = scaled(nn.Linear(width, width), 1.0)
        self.key = scaled(nn.Linear(message, width), 1.0)
        self.value = scaled(nn.Linear(message, width), 1.0)
        # Not called here: only training asks what a message says of its sender's action.
        self.predict = nn.Sequential(scaled(nn.Linear(message, width), math.sqrt(2)), nn.Tanh())
        self.predict.append(scaled(nn.Linear(width, choices), 1.0))

    def messages(self, own: Tensor, pooled: Tensor) -> Tensor:
        message: Tensor = self.say(pooled)
        return message

    def links(self, own: Tensor, messages: Tensor, present: Tensor) -> Tensor:
        score = self.query(own) @ self.key(messages).transpose(-2, -1) / math.sqrt(own.shape[-1])
        there = others(present)
        alpha = torch.where(there, score, NEVER).softmax(-1)
        least = self.threshold / (present.sum(-1).to(alpha.dtype) - 1).clamp_min(1.0)
        kept = there & (alpha > least.view(-1, 1, 1))
        # The same shares again: nothing of a cut link is learned, not even through the sum that they share.
        score = torch.where(kept, score, torch.where(there, score, NEVER).detach())
        over = torch.where(kept, score.softmax(-1) - least.view(-1, 1, 1), 0.0)
        return over / over.sum(-1, keepdim=True).clamp_min(TINY)

    def heard(self, links: Tensor, messages: Tensor) -> Tensor:
        heard: Tensor = links @ self.value(messages)
        return heard
