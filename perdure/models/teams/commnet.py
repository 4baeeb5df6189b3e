"""Messages that are the mean of what the others have in mind."""

from __future__ import annotations

from torch import Tensor, nn

from perdure.models.teams.channel import Channel
from perdure.models.teams.team_net import scaled


class Averaged(Channel):
    """Agents say their state ``h_i``; each hears ``tanh(C c_j)``, ``c_j`` the mean of the others' states."""

    def __init__(self, width: int, rounds: int):
        super().__init__(width, rounds)
        # Without a bias: who is alone hears nothing.
        self.value = scaled(nn.Linear(width, width, bias=False), 1.0)

    def messages(self, own: Tensor, pooled: Tensor) -> Tensor:
        return own

    def heard(self, links: Tensor, messages: Tensor) -> Tensor:
        heard: Tensor = self.value(links @ messages)
        return heard
