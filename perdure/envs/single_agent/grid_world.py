"""A grid of rooms, in which a cell is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError, shown
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.drawing import BLUE, BROWN, GOLD, GREEN, GREY, enlarged
from perdure.envs.registry import environment
from perdure.envs.single_agent.layouts import Cell, floor_of, leads_to, reaching, rows_of

# What the planes of an image show, in this order.
PLANES = {"wall": GREY, "goal": GREEN, "key": GOLD, "door": BROWN, "agent": BLUE}
PIXELS = 8  # width of a cell of a picture


@environment("grid-world")
@dataclass(frozen=True, repr=False)
class GridWorld(Env):
    """Walk through a grid to its goal: 1 when it is reached, less a cost of each step.

    Actions go up, right, down, left, and with ``stay`` there is a fifth that stays; what a wall stands in the
    way of stays too. Whoever enters the cell of the key has it from then on, and only then can enter the cell
    of the door. An episode ends at the goal.

    The observation is the agent's cell as a one-hot vector, one number for each cell of the grid, row by
    row, walls among them, and a last number that is 1 with the key. With ``image`` it is five planes of the
    grid that are 1 where there is: wall, goal, key (before it is taken), door (while it is closed), agent.
    Cells are (row, column) from the upper left, outer wall included.

    Parameters
    ----------
    layout:
        The walls: ``"open"``, ``"two-rooms"``, ``"four-rooms"`` or ``"maze"``, of nine rows and columns, or
        rows of ``"#"`` (wall) and ``"."`` (floor), with a wall all around.
    goal:
        The cell to be reached; by default the last one of the floor.
    start:
        Where episodes start; by default anywhere on the floor from where the goal can be reached.
    key, door:
        Cells of a key and of the door that it opens: both or none.
    image:
        Whether the observation is an image.
    stay:
        Whether there is a fifth action.
    cost:
        Of each step.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For layouts without an outer wall, cells that are walls or have two meanings, a key without a door,
        a goal that cannot be reached, and a negative cost.

    Examples
    --------
    >>> GridWorld("two-rooms", key=(1, 1), door=(4, 4)).shape
    (82,)
    """

    layout: str | tuple[str, ...] = "open"
    goal: tuple[int, int] | None = None
    start: tuple[int, int] | None = None
    key: tuple[int, int] | None = None
    door: tuple[int, int] | None = None
    image: bool = False
    stay: bool = False
    cost: float = 0.01
    limit: int = field(default=100, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("cost", self.cost)
        floor = floor_of(self._rows)
        if len(floor) < 2:
            raise PerdureError(f"layout must have two cells of floor or more; found {shown(self.layout)}")
        places = {"goal": self._goal, "start": self.start, "key": self.key, "door": self.door}
        given = {name: cell for name, cell in places.items() if cell is not None}
        for name, cell in given.items():
            if cell not in floor:
                raise PerdureError(f"{name} must be a cell of floor, (row, column); found {cell}")
        if (self.key is None) != (self.door is None):
            raise PerdureError(f"expected a key and a door, or none; found key={self.key}, door={self.door}")
        if len({*given.values()}) < len(given):
            raise PerdureError(f"{', '.join(given)} must be different cells; found {[*given.values()]}")
        if not self._starts:
            origin = "the floor" if self.start is None else self.start
            raise PerdureError(f"the goal {self._goal} must be in reach; there is no way to it from {origin}")

    # ---- the grid -------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> tuple[str, ...]:
        return rows_of(self.layout)

    @cached_property
    def _goal(self) -> Cell:
        return floor_of(self._rows)[-1] if self.goal is None else self.goal

    @cached_property
    def _moves(self) -> list[list[list[int]]]:
        return leads_to(self._rows, self.door, self.actions.n)

    @cached_property
    def _starts(self) -> list[int]:
        """Cells where episodes may start, by number."""
        able = reaching(self._moves, self._number(self.key), self._number(self._goal))
        taken = (self._goal, self.key, self.door)
        cells = [cell for cell in floor_of(self._rows) if cell not in taken and self.start in (None, cell)]
        return [number for cell in cells if (number := self._number(cell)) in able]

    def _number(self, cell: Cell | None) -> int:
        """Return the number of a cell, row by row; -1, which no cell has, for none."""
        return -1 if cell is None else cell[0] * len(self._rows[0]) + cell[1]

    # ---- the environment ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        height, width = len(self._rows), len(self._rows[0])
        return (len(PLANES), height, width) if self.image else (height * width + 1,)

    @property
    def actions(self) -> Discrete:
        return Discrete(5 if self.stay else 4)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.shape), torch.ones(self.shape)

    def reset(self, rng: Rng, n: int) -> State:
        starts = torch.tensor(self._starts, device=rng.seed.device)
        cell = starts[rng.integers("start", len(starts), n)]
        return {"cell": cell, "key": torch.zeros_like(cell, dtype=torch.bool)}

    def observe(self, state: State) -> Tensor:
        if self.image:
            return self._planes(state).float()
        agent = _one_hot(state["cell"], len(self._rows) * len(self._rows[0]))
        return torch.cat([agent, state["key"].unsqueeze(-1)], -1).float()

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        # A constant of the record: it is brought to the device once.
        moves = torch.tensor(self._moves, device=action.device)
        cell = moves[state["key"].long(), state["cell"], action]
        ended = cell == self._number(self._goal)
        key = state["key"] | (cell == self._number(self.key))
        return {"cell": cell, "key": key}, ended.float() - self.cost, ended

    def frame(self, state: State) -> Tensor:
        cells = torch.full((1, 1, 1, 3), 255.0, device=state["cell"].device)
        for plane, colour in zip(self._planes(state).unbind(1), PLANES.values(), strict=True):
            each = [torch.where(plane, new, old) for old, new in zip(cells.unbind(-1), colour, strict=True)]
            cells = torch.stack(each, -1)
        return enlarged(cells, PIXELS)

    def _planes(self, state: State) -> Tensor:
        """Return where there is what, ``[n, 5, height, width]`` bool."""
        cell, closed = state["cell"], ~state["key"].unsqueeze(-1)
        height, width = len(self._rows), len(self._rows[0])
        wall = torch.tensor([mark == "#" for row in self._rows for mark in row], device=cell.device)
        goal, key, door = (torch.full_like(cell, self._number(c)) for c in (self._goal, self.key, self.door))
        goal, key, door, agent = (_one_hot(c, height * width) for c in (goal, key, door, cell))
        planes = [wall.expand_as(agent), goal, key & closed, door & closed, agent]
        return torch.stack(planes, 1).view(len(cell), len(PLANES), height, width)


def _one_hot(cell: Tensor, cells: int) -> Tensor:
    """Return ``[n, cells]`` bool, true at the number of a cell."""
    return cell.unsqueeze(-1) == torch.arange(cells, device=cell.device)
