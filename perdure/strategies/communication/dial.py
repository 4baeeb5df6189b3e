"""Agents that say a few bits."""

from __future__ import annotations

from torch import nn

from perdure.core.checks import check_number, check_whole
from perdure.models.teams.dial import Bits
from perdure.models.teams.team_net import TeamNet
from perdure.strategies.communication.talking import Talking
from perdure.strategies.contract.registry import strategy


@strategy("dial")
class DIAL(Talking):
    """Messages of ``bits`` bits, learned by the gradient that goes through them from receiver to sender.

    ``m_i = 1 where s_i + noise e > 0, else 0``, ``s_i`` a linear map of the sender's state and ``e`` a normal
    number; the gradient is that of ``sigmoid``. Who acts adds no noise: it is there in steps of training
    only, where it pushes ``s_i`` away from 0. Agents hear the mean of a linear map of the others' bits.

    Parameters
    ----------
    bits:
        Of a message.
    noise:
        Standard deviation of what is added in training.

    Source: differentiable inter-agent learning of Foerster et al., "Learning to communicate with deep
    multi-agent reinforcement learning", NeurIPS 2016, arXiv 1605.06676. Deviations: in training too messages
    are 0 or 1, with the gradient straight through, where DIAL sends the sigmoid and rounds in execution only;
    rollouts are without noise, as acting is the same each time; messages arrive in the step in which they are
    said; the policy learns by multi-agent PPO, where DIAL learns values of actions with a recurrent net.
    """

    bits: int = 8
    noise: float = 0.5

    def __post_init__(self) -> None:
        check_whole("bits", self.bits)
        check_number("noise", self.noise)

    def channel(self, model: TeamNet) -> nn.Module:
        return Bits(model.width, self.bits, self.noise)
