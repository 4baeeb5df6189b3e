"""Two agents that each have to find the landmark whose colour only the other one knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.envs.multi_agent.coloured import Coloured
from perdure.envs.multi_agent.particles import length
from perdure.envs.registry import environment


@environment("reference")
@dataclass(frozen=True, repr=False)
class Reference(Coloured):
    """Go to the landmark that the other agent means: each step costs the distances from them.

    Each agent sees itself (its velocity), the other one (what it has said), the landmarks (where they are
    from it, and their colours) and the colour of the landmark where the other one should go. Both can mean
    the same. With ``d_i`` the distance of agent ``i`` from its own goal, which it does not know, it is
    rewarded after a step by what it has told the other one::

        -local_ratio d_(other of i) - (1 - local_ratio) (d_1 + d_2) / 2

    The reward of the team is ``-(d_1 + d_2) / 2`` at every ratio. The physics and the moves are those of
    :class:`perdure.envs.multi_agent.particles.Particles`.

    Parameters
    ----------
    landmarks:
        How many, 2 to 5.
    local_ratio:
        Weight of an agent's own part of its reward (:meth:`rewards`), in [0, 1].
    talk:
        How many symbols the agents may utter; 10 in mpe2. With 0, what they know must go through messages of
        a strategy.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For numbers of landmarks and symbols, and a ratio, that are out of range.

    Examples
    --------
    >>> Reference(talk=10).moves
    50

    Source: Mordatch and Abbeel, "Emergence of grounded compositional language in multi-agent populations",
    AAAI 2018, arXiv 1703.04908, as ``simple_reference_v3`` of the package mpe2. Deviations: colours are
    one-hot, and which landmark has which is drawn for each episode, as rows of a table have no order.
    """

    radius: ClassVar[float] = 0.05
    local_ratio: float = 0.5

    def __post_init__(self) -> None:
        check_number("local_ratio", self.local_ratio, high=1.0, ends="[]")
        super().__post_init__()

    def reset(self, rng: Rng, n: int) -> State:
        return self.coloured(rng, n, 2)

    def tables(self, state: State) -> Tensor:
        nowhere = torch.zeros_like(state["position"])
        rows = [
            self.own_rows(state, nowhere),
            self.other_rows(state, nowhere.unsqueeze(2)),
            self.landmark_rows(state),
            self.goal_rows(state),
        ]
        return torch.cat(rows, 2)

    def rewards(self, state: State) -> Tensor:
        own = -length(self.seekers(state) - self.goal_places(state))
        return self.local_ratio * own + (1 - self.local_ratio) * own.mean(1, keepdim=True)

    def seekers(self, state: State) -> Tensor:
        # The goal that an agent knows is the other one's.
        others: Tensor = state["position"].flip(1)
        return others
