"""A pole on a cart, to be kept upright by pushes to the left and to the right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.drawing import BLACK, BLUE, BROWN, GREY, Picture
from perdure.envs.registry import environment

STEP = 0.02  # seconds
FARTHEST, STEEPEST = 2.4, 12 * 2 * math.pi / 360  # of the cart from the middle, of the pole from upright


@environment("cartpole")
@dataclass(frozen=True, repr=False)
class CartPole(Env):
    """Keep a pole upright on a cart: each step is worth 1, and a fall ends the episode.

    The equations of Barto, Sutton and Anderson (1983), integrated as Gymnasium's ``CartPole-v1`` does, by
    Euler's method with steps of .02 s. The observation is the state: position and speed of the cart, angle
    and turning speed of the pole. An episode ends 2.4 m from the middle, or 12 degrees from upright.

    Parameters
    ----------
    gravity:
        In m/s^2.
    cart, pole:
        Masses in kg.
    half:
        Half the length of the pole in m.
    force:
        Of a push in N; negative where left and right are swapped.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For masses, lengths or a gravity that are not positive, and a force of 0.
    """

    shape: ClassVar[tuple[int, ...]] = (4,)
    gravity: float = 9.8
    cart: float = 1.0
    pole: float = 0.1
    half: float = 0.5
    force: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gravity", "cart", "pole", "half"):
            check_number(name, getattr(self, name), ends="()")
        check_number("the size of `force`", abs(self.force), ends="()")

    @property
    def actions(self) -> Discrete:
        return Discrete(2)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.tensor([2 * FARTHEST, math.inf, 2 * STEEPEST, math.inf])
        return -high, high

    def reset(self, rng: Rng, n: int) -> State:
        return {"state": rng.uniform("start", n, 4) * 0.1 - 0.05}

    def observe(self, state: State) -> Tensor:
        seen: Tensor = state["state"]
        return seen

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        place, speed, angle, turn = state["state"].unbind(-1)
        push = (2 * action - 1).to(place.dtype) * self.force
        sin, cos, total = angle.sin(), angle.cos(), self.cart + self.pole
        swing = self.pole * self.half
        part = (push + swing * turn.square() * sin) / total
        bend = self.half * (4.0 / 3.0 - self.pole * cos.square() / total)
        turning = (self.gravity * sin - cos * part) / bend
        moving = part - swing / total * turning * cos
        change = torch.stack([speed, moving, turn, turning], -1)
        new = state["state"] + STEP * change
        ended = (new[:, 0].abs() > FARTHEST) | (new[:, 2].abs() > STEEPEST)
        return {"state": new}, torch.ones_like(place), ended

    def frame(self, state: State) -> Tensor:
        place, _, angle, _ = state["state"].unbind(-1)
        end = (place + 2 * self.half * angle.sin(), 2 * self.half * angle.cos())
        picture = Picture.blank(place, -FARTHEST - 0.2, -0.5, FARTHEST + 0.2, height=48)
        picture = picture.line((-FARTHEST, -0.2), (FARTHEST, -0.2), 0.04, GREY)
        picture = picture.box((place, -0.1), 0.3, 0.15, BLUE)
        return picture.line((place, 0.0), end, 0.1, BROWN).disc((place, 0.0), 0.06, BLACK).bytes()
