"""Agents that hear the mean of what the others have in mind."""

from __future__ import annotations

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.teams.commnet import Averaged
from perdure.models.teams.team_net import TeamNet
from perdure.strategies.communication.talking import Talking
from perdure.strategies.contract.registry import strategy


@strategy("commnet")
class CommNet(Talking):
    """Rounds in which each agent hears the mean of the others' hidden states.

    ``c_j = 1 / (N - 1) sum over i != j of h_i`` and ``h_j <- h_j + tanh(C c_j)``, ``rounds`` times; ``N`` are
    the agents that are there. The gradient of the team's loss goes through what was heard to who said it.

    Parameters
    ----------
    rounds:
        How often all speak before they act.

    Source: Sukhbaatar, Szlam and Fergus, "Learning multiagent communication with backpropagation", NeurIPS
    2016, arXiv 1605.07736: ``h_j <- tanh(H h_j + C c_j)``, with weights of each round's own. Deviations:
    ``H`` is the identity and stands outside the tanh, so that an agent alone is as it would be without a
    channel; all rounds share ``C``; agents are of a team-net, which sees entities, and learn by multi-agent
    PPO.
    """

    rounds: int = 2

    def __post_init__(self) -> None:
        check_whole("rounds", self.rounds)

    def channel(self, model: TeamNet) -> nn.Module:
        return Averaged(model.width, self.rounds)
