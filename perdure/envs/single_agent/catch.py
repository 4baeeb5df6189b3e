"""A ball that falls, to be caught: ten by ten pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.drawing import enlarged
from perdure.envs.registry import environment

SIDE = 10  # pixels of the picture
PIXELS = 8  # width of one in a frame


@environment("catch")
@dataclass(frozen=True, repr=False)
class Catch(Env):
    """Catch a ball that falls from a random column: 1 if it is caught, -1 if not, then the episode ends.

    The paddle of the lowest row moves by a pixel to the left, stays, or moves to the right. The ball falls by
    ``speed`` rows and moves by ``drift`` columns to the right; what leaves the picture on one side comes back
    on the other, so that one picture always tells where it will fall. It is caught when it reaches the lowest
    row in a column of the paddle's. The observation is the picture, ``[1, 10, 10]``.

    Parameters
    ----------
    size:
        Width and height of the ball in pixels, at most 5.
    width:
        Of the paddle in pixels, at most 9.
    speed:
        Rows per step. What falls fast cannot always be caught: the paddle goes one column per step.
    drift:
        Columns per step, to the left where negative.
    brightness:
        Of ball and paddle, in (0, 1]; the rest is 0.
    inverted:
        Whether the picture is: 1 less what it is otherwise.
    swapped:
        Whether left and right are.
    limit:
        Steps after which an episode is cut off; at least those of a fall.

    Raises
    ------
    PerdureError
        For numbers out of these ranges.

    Source: the environment catch of bsuite (Osband et al., 2020, arXiv 1908.03568), there of ten rows and
    five columns, with a ball and a paddle of one pixel and without drift.
    """

    shape: ClassVar[tuple[int, ...]] = (1, SIDE, SIDE)
    size: int = 1
    width: int = 1
    speed: int = 1
    drift: int = 0
    brightness: float = 1.0
    inverted: bool = False
    swapped: bool = False
    limit: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("size", self.size, most=SIDE // 2)
        check_whole("width", self.width, most=SIDE - 1)
        check_whole("speed", self.speed, most=SIDE - 1)
        check_whole("drift", self.drift, least=1 - SIDE, most=SIDE - 1)
        check_number("brightness", self.brightness, high=1, ends="(]")
        fall = -(-self._depth // self.speed)
        if self.limit < fall:
            raise PerdureError(f"limit must be at least {fall}, the steps of a fall; found {self.limit}")

    @property
    def _depth(self) -> int:
        """How many rows the ball falls."""
        return SIDE - self.size

    @property
    def actions(self) -> Discrete:
        return Discrete(3)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.shape), torch.ones(self.shape)

    def reset(self, rng: Rng, n: int) -> State:
        column = rng.integers("start", SIDE, n)
        paddle = torch.full_like(column, (SIDE - self.width + 1) // 2)
        return {"row": torch.zeros_like(column), "column": column, "paddle": paddle}

    def observe(self, state: State) -> Tensor:
        pixels = torch.arange(SIDE, device=state["row"].device)
        rows = _within(pixels - state["row"].unsqueeze(-1), self.size)
        ball = rows.unsqueeze(-1) & self._columns(state["column"], self.size).unsqueeze(-2)
        paddle = (pixels == SIDE - 1).unsqueeze(-1) & self._columns(state["paddle"], self.width).unsqueeze(-2)
        picture = self.brightness * (ball | paddle).float()
        return (1 - picture if self.inverted else picture).unsqueeze(1)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        move = 1 - action if self.swapped else action - 1
        paddle = (state["paddle"] + move).clamp(0, SIDE - self.width)
        row = (state["row"] + self.speed).clamp_max(self._depth)
        column = (state["column"] + self.drift).remainder(SIDE)
        below = self._columns(column, self.size) & self._columns(paddle, self.width)
        ended = row == self._depth
        reward = ended.float() * (2 * below.any(-1).float() - 1)
        return {"row": row, "column": column, "paddle": paddle}, reward, ended

    def frame(self, state: State) -> Tensor:
        grey = 255 * self.observe(state).squeeze(1)
        return enlarged(grey.unsqueeze(-1).expand(-1, -1, -1, 3), PIXELS)

    def _columns(self, left: Tensor, width: int) -> Tensor:
        """Return which columns something covers, ``[n, 10]``, given its leftmost one."""
        pixels = torch.arange(SIDE, device=left.device)
        return _within((pixels - left.unsqueeze(-1)).remainder(SIDE), width)


def _within(offset: Tensor, width: int) -> Tensor:
    return (offset >= 0) & (offset < width)
