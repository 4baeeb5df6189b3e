"""Agents that are to cover as many landmarks, without running into each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.entities import row
from perdure.core.random import Rng
from perdure.envs.drawing import BLACK, BLUE
from perdure.envs.multi_agent.particles import Particles, contact, cut, gaps, length, middles, others
from perdure.envs.registry import environment

RADIUS = 0.15  # of an agent
DOT = 0.05  # of a landmark


@environment("spread")
@dataclass(frozen=True, repr=False)
class Spread(Particles):
    """Cover all landmarks: each step costs the distance from each of them to the agent nearest to it.

    After a step, agent ``i`` is rewarded by::

        -(1 - local_ratio) sum over landmarks l of min over agents j of |p_j - l|
        - local_ratio (number of agents that it overlaps)

    Agents are discs of radius .15 that push each other away; landmarks are points. An agent sees itself
    (where it is, and its velocity), the other agents and the landmarks (where they are from it). The physics
    and the moves are those of :class:`perdure.envs.multi_agent.particles.Particles`.

    Parameters
    ----------
    agents:
        How many, and as many landmarks: 2 at least.
    local_ratio:
        Weight of an agent's own part of its reward, in [0, 1].
    talk:
        How many symbols the agents may utter; 0 as in mpe2.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For fewer than 2 agents, a ratio that is not in [0, 1], and more symbols than a row has room for.

    Examples
    --------
    >>> Spread(agents=4).shape, Spread(agents=4).moves
    ((4, 8, 24), 5)

    Source: cooperative navigation in Lowe et al., NeurIPS 2017, arXiv 1706.02275, as ``simple_spread_v3`` of
    the package mpe2.
    """

    agents: int = 3
    local_ratio: float = 0.5

    def __post_init__(self) -> None:
        check_whole("agents", self.agents, least=2, most=1000)
        check_number("local_ratio", self.local_ratio, high=1.0, ends="[]")
        super().__post_init__()

    @property
    def team(self) -> int:
        return self.agents

    @property
    def entities(self) -> int:
        return 2 * self.agents

    def reset(self, rng: Rng, n: int) -> State:
        return self.scattered(rng, n, self.agents)

    def forces(self, state: State) -> Tensor:
        return contact(state["position"], RADIUS)

    def tables(self, state: State) -> Tensor:
        position = state["position"]
        far = others(position) - position.unsqueeze(2)
        marks = row("landmark", cut(gaps(state)))
        return torch.cat([self.own_rows(state, position), self.other_rows(state, far), marks], 2)

    def rewards(self, state: State) -> Tensor:
        position = state["position"]
        nearest = length(gaps(state)).amin(1)
        hit = length(others(position) - position.unsqueeze(2)) < 2 * RADIUS
        shared = -nearest.sum(-1, keepdim=True)
        return (1 - self.local_ratio) * shared - self.local_ratio * hit.to(position.dtype).sum(-1)

    def frame(self, state: State) -> Tensor:
        picture = self.view(state)
        for middle in middles(state["position"]):
            picture = picture.disc(middle, RADIUS, BLUE)
        for middle in middles(state["landmarks"]):
            picture = picture.disc(middle, DOT, BLACK)
        return picture.bytes()
