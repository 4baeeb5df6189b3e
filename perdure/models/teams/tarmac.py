"""Messages for whom they may concern: a signature that receivers ask for, and a value."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from perdure.models.teams.channel import Channel, others
from perdure.models.teams.team_net import NEVER, scaled


class Targeted(Channel):
    """A message is a signature ``k_i`` and a value ``v_i``; agents attend to the others' signatures.

    ``a_ji = softmax over i != j of (q_j . k_i / sqrt(signature))``, ``q_j`` a query of the receiver's state;
    it hears ``tanh(W sum_i a_ji v_i)``.
    """

    def __init__(self, width: int, signature: int, value: int, rounds: int):
        super().__init__(signature + value, rounds)
        self.signature = signature
        self.say = scaled(nn.Linear(width, signature + value), 1.0)
        self.query = scaled(nn.Linear(width, signature), 1.0)
        # Without a bias: who is alone hears nothing.
        self.take = scaled(nn.Linear(value, width, bias=False), 1.0)

    def messages(self, own: Tensor, pooled: Tensor) -> Tensor:
        message: Tensor = self.say(own)
        return message

    def links(self, own: Tensor, messages: Tensor, present: Tensor) -> Tensor:
        signatures = messages[..., : self.signature]
        score = self.query(own) @ signatures.transpose(-2, -1) / math.sqrt(self.signature)
        there = others(present)
        return torch.where(there, torch.where(there, score, NEVER).softmax(-1), 0.0)

    def heard(self, links: Tensor, messages: Tensor) -> Tensor:
        heard: Tensor = self.take(links @ messages[..., self.signature :])
        return heard
