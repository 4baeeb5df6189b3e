"""Messages of a few bits, through which gradients go as if they were none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perdure.models.teams.channel import Channel
from perdure.models.teams.team_net import scaled


class Bits(Channel):
    """Messages of 0 and 1: ``m_i = 1 where s_i > 0``, ``s_i`` a linear map of the sender's state.

    In training ``noise`` times a normal number is added to each ``s_i``, and the gradient is that of
    ``sigmoid(s_i)``. Agents hear ``tanh`` of the mean of a linear map of the others' bits.
    """

    def __init__(self, width: int, bits: int, noise: float):
        super().__init__(bits, bits=bits)
        self.noise = noise
        self.say = scaled(nn.Linear(width, bits), 1.0)
        self.value = scaled(nn.Linear(bits, width), 1.0)

    def messages(self, own: Tensor, pooled: Tensor) -> Tensor:
        score: Tensor = self.say(own)
        if self.training and self.noise:
            score = score + self.noise * torch.randn_like(score)
        soft = torch.sigmoid(score)
        # Worth 0 or 1 exactly, with the slope of the sigmoid.
        return (score > 0).to(score.dtype) + (soft - soft.detach())

    def heard(self, links: Tensor, messages: Tensor) -> Tensor:
        heard: Tensor = links @ self.value(messages)
        return heard
