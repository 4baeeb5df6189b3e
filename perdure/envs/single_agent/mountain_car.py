"""A car in a valley, to be driven up a hill by an engine that is too weak for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.drawing import BLACK, BLUE, GOLD, SILVER, Picture
from perdure.envs.registry import environment

LEFT, RIGHT, FASTEST = -1.2, 0.6, 0.07  # ends of the road, and the largest speed per step
START = (-0.6, -0.4)


@environment("mountain-car")
@dataclass(frozen=True, repr=False)
class MountainCar(Env):
    """Reach a goal on the right hill by rocking in the valley: each step costs 1.

    With the position ``x`` and the speed ``v``, a step is that of Gymnasium's ``MountainCar-v0``::

        v <- v + force (action - 1) - gravity cos 3x, cut to [-.07, .07]
        x <- x + v, cut to [-1.2, .6]; at the left end v is not negative

    The observation is position and speed; actions push to the left, not at all, or to the right. An episode
    starts at rest in [-.6, -.4), and ends at the goal.

    Parameters
    ----------
    force:
        Of a push, as a change of the speed per step; negative where left and right are swapped.
    gravity:
        The most that the slope changes the speed by in a step.
    goal:
        Position to be reached, in (-.4, .6].
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For a gravity that is not positive, a force of 0, and a goal that is not on the right of the start.

    Source: Moore, "Efficient memory-based learning for robot control", thesis, Cambridge 1990.
    """

    shape: ClassVar[tuple[int, ...]] = (2,)
    force: float = 0.001
    gravity: float = 0.0025
    goal: float = 0.5
    limit: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("the size of `force`", abs(self.force), ends="()")
        check_number("gravity", self.gravity, ends="()")
        check_number("goal", self.goal, START[1], RIGHT, ends="(]")

    @property
    def actions(self) -> Discrete:
        return Discrete(3)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([LEFT, -FASTEST]), torch.tensor([RIGHT, FASTEST])

    def reset(self, rng: Rng, n: int) -> State:
        place = rng.uniform("start", n) * (START[1] - START[0]) + START[0]
        return {"state": torch.stack([place, torch.zeros_like(place)], -1)}

    def observe(self, state: State) -> Tensor:
        seen: Tensor = state["state"]
        return seen

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        place, speed = state["state"].unbind(-1)
        push = self.force * (action - 1).to(place.dtype)
        speed = (speed + push - self.gravity * (3 * place).cos()).clamp(-FASTEST, FASTEST)
        place = (place + speed).clamp(LEFT, RIGHT)
        speed = torch.where(place <= LEFT, speed.clamp_min(0.0), speed)
        ended = (place >= self.goal) & (speed >= 0.0)
        return {"state": torch.stack([place, speed], -1)}, -torch.ones_like(place), ended

    def frame(self, state: State) -> Tensor:
        place = state["state"][:, 0]
        picture = Picture.blank(place, LEFT - 0.05, -0.05, RIGHT + 0.05, height=64)
        picture = picture.fill((_height(picture.x) - picture.y).expand(len(place), -1, -1), SILVER)
        foot = float(_height(torch.tensor(self.goal)))
        picture = picture.line((self.goal, foot), (self.goal, foot + 0.16), 0.015, BLACK)
        picture = picture.box((self.goal + 0.04, foot + 0.13), 0.04, 0.03, GOLD)
        return picture.disc((place, _height(place) + 0.05), 0.05, BLUE).bytes()


def _height(place: Tensor) -> Tensor:
    """Height of the road, as it is drawn."""
    return 0.45 * (3 * place).sin() + 0.5
