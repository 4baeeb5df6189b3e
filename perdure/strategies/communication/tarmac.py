"""Agents that choose by attention whom they hear."""

from __future__ import annotations

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.teams.tarmac import Targeted
from perdure.models.teams.team_net import TeamNet
from perdure.strategies.communication.talking import Talking
from perdure.strategies.contract.registry import strategy


@strategy("tarmac")
class TarMAC(Talking):
    """Targeted messages: a signature says whom a message may concern, and receivers attend to it.

    Agent ``i`` says a signature ``k_i`` and a value ``v_i``; agent ``j`` asks with a query ``q_j``, all
    linear maps of their states. ``a_ji = softmax over i != j of (q_j . k_i / sqrt(signature))`` and
    ``h_j <- h_j + tanh(W sum_i a_ji v_i)``, ``rounds`` times.

    Parameters
    ----------
    signature, value:
        Numbers in the two parts of a message.
    rounds:
        How often all speak before they act.

    Source: Das et al., "TarMAC: targeted multi-agent communication", ICML 2019, arXiv 1810.11187:
    ``h_j <- tanh(W [c_j, h_j])`` between rounds. Deviations: agents do not attend to themselves, and their
    own state stands outside the tanh, so that an agent alone is as it would be without a channel; messages
    arrive in the step in which they are said; agents are of a team-net, which is not recurrent.
    """

    signature: int = 16
    value: int = 32
    rounds: int = 1

    def __post_init__(self) -> None:
        for name in ("signature", "value", "rounds"):
            check_whole(name, getattr(self, name))

    def channel(self, model: TeamNet) -> nn.Module:
        return Targeted(model.width, self.signature, self.value, self.rounds)
