"""An arm of two links in the plane, whose end is to be brought to a target."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.actions import Continuous
from perdure.envs.angles import wrap
from perdure.envs.contract import Env
from perdure.envs.drawing import BLACK, BLUE, GREEN, SILVER, Picture
from perdure.envs.registry import environment

STEP = 0.05  # seconds
STIFFEST = 1 / STEP  # damping that stops a joint within a step


@environment("reacher")
@dataclass(frozen=True, repr=False)
class Reacher(Env):
    """Bring the end of an arm to a target: each step costs the distance, and a little the torques.

    A joint is an inertia of 1 with damping, for itself: the links are without mass, and there is no gravity.
    With the angle ``a`` of a joint, its speed ``w`` and action ``u``, cut to [-1, 1], a step of .05 s is::

        w <- w + .05 (torque u - damping w)
        a <- a + .05 w, wrapped to [-pi, pi)

    The first angle is that of the first link from the x-axis, the second that of the second link from the
    first; the end is at ``length_1 (cos a1, sin a1) + length_2 (cos (a1 + a2), sin (a1 + a2))``. The reward
    is ``-|end - target| - cost |u|^2`` after the step. The observation is cosines and sines of the first and
    of the second angle, both speeds, the target, and from the target to the end: ten numbers. Episodes start
    at rest with angles in [-.1, .1), and only time ends them.

    Parameters
    ----------
    length_1, length_2:
        Of the links in m.
    torque:
        The largest one, in rad/s^2 as the inertia is 1; negative where the directions are swapped.
    damping:
        Share of a joint's speed that is lost per second, in [0, 20].
    target:
        Where the target is, (x, y); by default anywhere in reach, drawn for each episode.
    cost:
        Of the squared actions.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For lengths that are not positive, a torque of 0, a damping that is not in [0, 20], a negative cost,
        and a target out of reach.
    """

    shape: ClassVar[tuple[int, ...]] = (10,)
    length_1: float = 0.5
    length_2: float = 0.5
    torque: float = 10.0
    damping: float = 2.0
    target: tuple[float, float] | None = None
    cost: float = 0.01
    limit: int = field(default=50, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("length_1", "length_2"):
            check_number(name, getattr(self, name), ends="()")
        check_number("the size of `torque`", abs(self.torque), ends="()")
        check_number("damping", self.damping, high=STIFFEST, ends="[]")
        check_number("cost", self.cost)
        nearest, farthest = self.reach
        if self.target is not None and not nearest <= math.hypot(*self.target) <= farthest:
            raise PerdureError(
                f"target must be {nearest:g} to {farthest:g} from the shoulder, in reach; found {self.target}"
            )

    @property
    def reach(self) -> tuple[float, float]:
        """Least and largest distance of the end from the shoulder, in m."""
        return abs(self.length_1 - self.length_2), self.length_1 + self.length_2

    @property
    def actions(self) -> Continuous:
        return Continuous((-1.0, -1.0), (1.0, 1.0))

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        farthest = self.reach[1]
        high = torch.tensor([1.0] * 4 + [math.inf] * 2 + [farthest] * 2 + [2 * farthest] * 2)
        return -high, high

    def reset(self, rng: Rng, n: int) -> State:
        angles = rng.uniform("start", n, 2) * 0.2 - 0.1
        if self.target is not None:
            target = torch.stack([torch.full_like(angles[:, 0], number) for number in self.target], -1)
        else:
            # Even over the area of the ring in reach.
            share, turn = rng.uniform("target", n, 2).unbind(-1)
            nearest, farthest = self.reach
            radius = (nearest**2 + share * (farthest**2 - nearest**2)).sqrt()
            turn = 2 * math.pi * turn
            target = torch.stack([radius * turn.cos(), radius * turn.sin()], -1)
        return {"state": torch.cat([angles, torch.zeros_like(angles)], -1), "target": target}

    def observe(self, state: State) -> Tensor:
        angles, speeds, target = state["state"][:, :2], state["state"][:, 2:], state["target"]
        end = torch.stack(self._points(state["state"])[1], -1)
        first, second = angles.unbind(-1)
        turned = torch.stack([first.cos(), first.sin(), second.cos(), second.sin()], -1)
        return torch.cat([turned, speeds, target, end - target], -1)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        angles, speeds = state["state"][:, :2], state["state"][:, 2:]
        action = self.actions.cut(action).to(angles.dtype)
        speeds = speeds + STEP * (self.torque * action - self.damping * speeds)
        new = torch.cat([wrap(angles + STEP * speeds), speeds], -1)
        gap = torch.stack(self._points(new)[1], -1) - state["target"]
        reward = -gap.square().sum(-1).sqrt() - self.cost * action.square().sum(-1)
        return {"state": new, "target": state["target"]}, reward, torch.zeros_like(reward, dtype=torch.bool)

    def frame(self, state: State) -> Tensor:
        elbow, end = self._points(state["state"])
        farthest = self.reach[1]
        x, y = state["target"].unbind(-1)
        picture = Picture.blank(x, -1.1 * farthest, -1.1 * farthest, 1.1 * farthest)
        picture = picture.disc((0.0, 0.0), farthest, SILVER).disc((x, y), 0.07 * farthest, GREEN)
        picture = picture.line((0.0, 0.0), elbow, 0.08 * farthest, BLUE)
        picture = picture.line(elbow, end, 0.06 * farthest, BLUE).disc(elbow, 0.04 * farthest, BLACK)
        return picture.disc((0.0, 0.0), 0.04 * farthest, BLACK).bytes()

    def _points(self, state: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return x and y of the elbow and of the end, ``[n]`` each."""
        first, both = state[:, 0], state[:, 0] + state[:, 1]
        x, y = self.length_1 * first.cos(), self.length_1 * first.sin()
        return (x, y), (x + self.length_2 * both.cos(), y + self.length_2 * both.sin())
