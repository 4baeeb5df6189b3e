"""Particles among landmarks of different colours, of which some agents know the goal."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.entities import row
from perdure.core.random import Rng
from perdure.envs.drawing import BLACK, BLUE, BROWN, GOLD, GREEN, GREY, RED, SILVER
from perdure.envs.multi_agent.particles import Particles, cut, gaps, middles

COLOURS = (RED, GREEN, BLUE, GOLD, BROWN)
SPEEDS = 2  # the first further numbers of a row, where velocities are


@dataclass(frozen=True, repr=False)
class Coloured(Particles):
    """Two agents that do not touch, and landmarks, each of a colour of its own, in an order drawn anew.

    Tables have the agent itself, the other one, the landmarks and the goal. A landmark's row says its colour,
    one-hot from the third further number on, and so does that of a goal, which says nothing of its place.

    Parameters
    ----------
    landmarks:
        How many, 2 to 5.
    """

    landmarks: int = 3

    def __post_init__(self) -> None:
        check_whole("landmarks", self.landmarks, least=2, most=len(COLOURS))
        super().__post_init__()

    @property
    @abstractmethod
    def radius(self) -> float:
        """Of an agent in pictures."""

    @abstractmethod
    def seekers(self, state: State) -> Tensor:
        """Return where the agents are that are to go to the goals, ``[n, goals, 2]``."""

    @property
    def team(self) -> int:
        return 2

    @property
    def entities(self) -> int:
        return 2 + self.landmarks + 1

    def coloured(self, rng: Rng, n: int, goals: int) -> State:
        """Return the start of an episode with so many goals, landmarks by number, ``[n, goals]``."""
        return {
            **self.scattered(rng, n, self.landmarks),
            "colour": rng.uniform("colour", n, self.landmarks).argsort(-1),
            "goal": rng.integers("goal", self.landmarks, n, goals),
        }

    def landmark_rows(self, state: State) -> Tensor:
        """Return the rows of landmarks, ``[n, 2, landmarks, FEATURES]``."""
        gap = cut(gaps(state))
        colour = state["colour"].unsqueeze(1).expand(gap.shape[:-1])
        return row("landmark", gap, *self._shown(colour, gap))

    def goal_rows(self, state: State) -> Tensor:
        """Return the rows of the goals, one for each agent, ``[n, 2, 1, FEATURES]``."""
        nowhere = torch.zeros_like(state["position"])
        colour = state["colour"].gather(1, state["goal"]).expand(nowhere.shape[:-1])
        return row("goal", nowhere, *self._shown(colour, nowhere)).unsqueeze(2)

    def goal_places(self, state: State) -> Tensor:
        """Return where the goals are, ``[n, goals, 2]``."""
        goal = state["goal"].unsqueeze(-1)
        places: Tensor = state["landmarks"].gather(1, goal.expand(*goal.shape[:-1], 2))
        return places

    def frame(self, state: State) -> Tensor:
        picture = self.view(state)
        for start, end in zip(middles(self.seekers(state)), middles(self.goal_places(state)), strict=True):
            picture = picture.line(start, end, 0.02, SILVER).disc(end, 0.13, BLACK)
        # The first colour's landmark first, and so on.
        order = state["colour"].argsort(-1).unsqueeze(-1)
        places = state["landmarks"].gather(1, order.expand(*order.shape[:-1], 2))
        for middle, colour in zip(middles(places), COLOURS, strict=False):
            picture = picture.disc(middle, 0.09, colour)
        for middle in middles(state["position"]):
            picture = picture.disc(middle, self.radius, GREY)
        return picture.bytes()

    def _shown(self, colour: Tensor, like: Tensor) -> list[Tensor]:
        """Return the further numbers of a row that say a colour."""
        none = torch.zeros_like(like[..., 0])
        return [none] * SPEEDS + [colour == number for number in range(self.landmarks)]
