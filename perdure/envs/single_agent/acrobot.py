"""Two links that hang from a joint, to be swung up by a torque between them."""

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
from perdure.envs.angles import wrap
from perdure.envs.contract import Env
from perdure.envs.drawing import BLACK, BLUE, GREY, RED, Picture
from perdure.envs.registry import environment

STEP = 0.2  # seconds
FASTEST = (4 * math.pi, 9 * math.pi)  # radians per second, of the first and the second joint


@environment("acrobot")
@dataclass(frozen=True, repr=False)
class Acrobot(Env):
    """Swing the free end of two links above a height: each step before that costs 1.

    The equations of Sutton and Barto's book, integrated as Gymnasium's ``Acrobot-v1`` does, by one step of
    the fourth-order Runge-Kutta method of .2 s; speeds are cut to 4 pi and 9 pi, angles wrapped to [-pi, pi).
    The first angle is that of the upper link from hanging, the second that of the lower link from the upper
    one. The observation is cosine and sine of the first and of the second angle, and both speeds. Actions
    are a torque of -1, 0 or 1 times ``torque`` between the links. An episode ends when the free end is higher
    above the upper joint than half the length of both links together: 1 m, as Gymnasium has it, whose
    height does not depend on the lengths. It starts with angles and speeds in [-.1, .1).

    Parameters
    ----------
    gravity:
        In m/s^2.
    mass_1, mass_2:
        Of the upper and the lower link in kg.
    length_1, length_2:
        Of the links in m; their centres of mass are halfway.
    inertia:
        Moment of inertia of each link about its centre of mass in kg m^2; it does not follow from the others.
    torque:
        In N m; negative where left and right are swapped.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For masses, lengths, an inertia or a gravity that are not positive, and a torque of 0.

    Source: Sutton, "Generalization in reinforcement learning: successful examples using sparse coarse
    coding", NeurIPS 1995, with the equations of the book (Sutton and Barto, 1998).
    """

    shape: ClassVar[tuple[int, ...]] = (6,)
    gravity: float = 9.8
    mass_1: float = 1.0
    mass_2: float = 1.0
    length_1: float = 1.0
    length_2: float = 1.0
    inertia: float = 1.0
    torque: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gravity", "mass_1", "mass_2", "length_1", "length_2", "inertia"):
            check_number(name, getattr(self, name), ends="()")
        check_number("the size of `torque`", abs(self.torque), ends="()")

    @property
    def actions(self) -> Discrete:
        return Discrete(3)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.tensor([1.0, 1.0, 1.0, 1.0, *FASTEST])
        return -high, high

    @property
    def height(self) -> float:
        """How high above the upper joint the free end must be, in m."""
        return (self.length_1 + self.length_2) / 2

    def reset(self, rng: Rng, n: int) -> State:
        return {"state": rng.uniform("start", n, 4) * 0.2 - 0.1}

    def observe(self, state: State) -> Tensor:
        first, second, speed_1, speed_2 = state["state"].unbind(-1)
        return torch.stack([first.cos(), first.sin(), second.cos(), second.sin(), speed_1, speed_2], -1)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        old = state["state"]
        torque = self.torque * (action - 1).to(old.dtype)
        k1 = self._change(old, torque)
        k2 = self._change(old + STEP / 2 * k1, torque)
        k3 = self._change(old + STEP / 2 * k2, torque)
        k4 = self._change(old + STEP * k3, torque)
        first, second, speed_1, speed_2 = (old + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(-1)
        first, second = wrap(first), wrap(second)
        speed_1, speed_2 = speed_1.clamp(-FASTEST[0], FASTEST[0]), speed_2.clamp(-FASTEST[1], FASTEST[1])
        ended = -self.length_1 * first.cos() - self.length_2 * (first + second).cos() > self.height
        return {"state": torch.stack([first, second, speed_1, speed_2], -1)}, ended.to(old.dtype) - 1, ended

    def _change(self, state: Tensor, torque: Tensor) -> Tensor:
        """Return the derivative of states ``[n, 4]`` by time."""
        first, second, speed_1, speed_2 = state.unbind(-1)
        sin, cos = second.sin(), second.cos()
        half_1, half_2 = self.length_1 / 2, self.length_2 / 2
        coupling, own = self.mass_2 * self.length_1 * half_2, self.mass_2 * half_2**2 + self.inertia
        # Rows of the matrix of inertia: (whole, part), (part, own).
        part = own + coupling * cos
        upper = self.mass_1 * half_1**2 + self.mass_2 * self.length_1**2 + self.inertia
        whole = upper + own + 2 * coupling * cos
        weight_2 = self.mass_2 * half_2 * self.gravity * (first + second).sin()
        weight_1 = (self.mass_1 * half_1 + self.mass_2 * self.length_1) * self.gravity * first.sin()
        swing = coupling * speed_2 * (speed_2 + 2 * speed_1) * sin
        load = weight_1 + weight_2 - swing
        pull = torque + part / whole * load - coupling * speed_1.square() * sin - weight_2
        turning_2 = pull / (own - part.square() / whole)
        turning_1 = -(part * turning_2 + load) / whole
        return torch.stack([speed_1, speed_2, turning_1, turning_2], -1)

    def frame(self, state: State) -> Tensor:
        first, second = state["state"][:, 0], state["state"][:, 1]
        reach = 1.1 * (self.length_1 + self.length_2)
        elbow = (self.length_1 * first.sin(), -self.length_1 * first.cos())
        both = first + second
        end = (elbow[0] + self.length_2 * both.sin(), elbow[1] - self.length_2 * both.cos())
        picture = Picture.blank(first, -reach, -reach, reach)
        picture = picture.line((-reach, self.height), (reach, self.height), 0.02 * reach, GREY)
        picture = picture.line((0.0, 0.0), elbow, 0.07 * reach, BLUE).line(elbow, end, 0.07 * reach, RED)
        return picture.disc((0.0, 0.0), 0.04 * reach, BLACK).disc(elbow, 0.04 * reach, BLACK).bytes()
