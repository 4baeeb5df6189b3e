"""A pendulum, to be swung up and held upright by a torque that is too weak to lift it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.envs.actions import Continuous
from perdure.envs.angles import wrap
from perdure.envs.contract import Env
from perdure.envs.drawing import BLACK, RED, Picture
from perdure.envs.registry import environment

STEP = 0.05  # seconds
FASTEST = 8.0  # radians per second


@environment("pendulum")
@dataclass(frozen=True, repr=False)
class Pendulum(Env):
    """Swing a rod up and hold it upright: each step costs its angle, its speed and the torque.

    The rod turns about its end. With the angle ``a`` from upright (counter-clockwise), its speed ``w`` and
    the torque ``u``, a step of .05 s is that of Gymnasium's ``Pendulum-v1``::

        w <- w + .05 (3 g / (2 l) sin a + 3 / (m l^2) u), cut to [-8, 8]
        a <- a + .05 w, wrapped to [-pi, pi)

    and its reward is ``-(a^2 + .1 w^2 + .001 u^2)`` before it. The observation is cos a, sin a and w. An
    action is a share of the largest torque, in [-1, 1] (Gymnasium's is the torque itself, in [-2, 2]), so
    that tasks may differ by what a torque does. Episodes start at any angle, with a speed in [-1, 1), and
    only time ends them.

    Parameters
    ----------
    gravity:
        In m/s^2.
    mass:
        Of the rod in kg.
    length:
        Of the rod in m.
    torque:
        The largest one in N m; negative where left and right are swapped.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For a mass, length or gravity that is not positive, and a torque of 0.
    """

    shape: ClassVar[tuple[int, ...]] = (3,)
    gravity: float = 10.0
    mass: float = 1.0
    length: float = 1.0
    torque: float = 2.0
    limit: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gravity", "mass", "length"):
            check_number(name, getattr(self, name), ends="()")
        check_number("the size of `torque`", abs(self.torque), ends="()")

    @property
    def actions(self) -> Continuous:
        return Continuous((-1.0,), (1.0,))

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.tensor([1.0, 1.0, FASTEST])
        return -high, high

    def reset(self, rng: Rng, n: int) -> State:
        angle, speed = (rng.uniform("start", n, 2) * 2 - 1).unbind(-1)
        return {"state": torch.stack([math.pi * angle, speed], -1)}

    def observe(self, state: State) -> Tensor:
        angle, speed = state["state"].unbind(-1)
        return torch.stack([angle.cos(), angle.sin(), speed], -1)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        angle, speed = state["state"].unbind(-1)
        torque = self.torque * self.actions.cut(action)[:, 0].to(angle.dtype)
        reward = -(angle.square() + 0.1 * speed.square() + 0.001 * torque.square())
        fall, push = 3 * self.gravity / (2 * self.length), 3 / (self.mass * self.length**2)
        faster = (speed + STEP * (fall * angle.sin() + push * torque)).clamp(-FASTEST, FASTEST)
        new = torch.stack([wrap(angle + STEP * faster), faster], -1)
        return {"state": new}, reward, torch.zeros_like(angle, dtype=torch.bool)

    def frame(self, state: State) -> Tensor:
        angle, reach = state["state"][:, 0], 1.2 * max(1.0, self.length)
        end = (-self.length * angle.sin(), self.length * angle.cos())
        picture = Picture.blank(angle, -reach, -reach, reach)
        return picture.line((0.0, 0.0), end, 0.15, RED).disc((0.0, 0.0), 0.06, BLACK).bytes()
