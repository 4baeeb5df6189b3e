"""Keys and goals on a grid: a goal opens only for someone whose teammate stands on its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.entities import row
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.drawing import BLUE, BROWN, GOLD, GREEN, GREY, RED, WHITE, Picture
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.multi_agent.grids import MOVES, Cell, drawn, moved, one_hot, others, scaled
from perdure.envs.registry import environment

MOST_AGENTS, MOST_PAIRS, WIDEST = 5, 4, 21
Layout = Literal["rows", "columns", "diagonals"]
# Key and goal of each pair: up (u), down (d), left (l), right (r) and middle (m), row before column.
PLACES: dict[Layout, tuple[tuple[str, str], ...]] = {
    "rows": (("ul", "ur"), ("dl", "dr"), ("ml", "mr"), ("um", "dm")),
    "columns": (("ul", "dl"), ("ur", "dr"), ("um", "dm"), ("ml", "mr")),
    "diagonals": (("ul", "dr"), ("dl", "ur"), ("um", "dm"), ("mr", "ml")),
}
COLOURS = (GREEN, GOLD, BROWN, RED)


@environment("alicebob")
@dataclass(frozen=True, repr=False)
class AliceBob(TeamEnv):
    """Open all goals: each opens for an agent on its cell while another one stands on its key's cell.

    A grid of ``size`` rows and columns, whose outermost cells are wall. Agents stay, go up, down, left or
    right; what a wall stands in the way of stays. They may share a cell. A goal is latched, for good, at a
    step after which an agent is on its cell and another one on the cell of its key. When all goals are, the
    episode ends. The reward of the team is::

        (1 - shaping) [all are latched] + (shaping / pairs + step_reward) (goals latched at this step)

    so that an episode that is won brings 1, and ``pairs step_reward`` besides; otherwise, with neither, 0.

    Places are fixed, by pair, as key - goal. The third and fourth pair are at the middles of edges, row and
    column ``(size - 1) // 2``.

    =========  ========================  =========================  ============  ============
    layout     first                     second                     third         fourth
    =========  ========================  =========================  ============  ============
    rows       upper left - upper right  lower left - lower right   left - right  top - bottom
    columns    upper left - lower left   upper right - lower right  top - bottom  left - right
    diagonals  upper left - lower right  lower left - upper right   top - bottom  right - left
    =========  ========================  =========================  ============  ============

    Agents start at different cells of the floor without key or goal, drawn for each episode. Which goal
    belongs to a key is fixed, unless ``shuffled``.

    An agent's table has itself, the other agents, the keys and the goals, in the order of their numbers. What
    is not in the square of ``view`` rows and columns around it is not present there. Places are (row,
    column): its own from -1 at the first row or column of the floor to 1 at the last, those of others in
    cells from it. Of agents it is told the number, one-hot (five numbers: a policy that all share could not
    tell them apart), of keys and goals the pair, one-hot (four numbers), and whether the key is held or the
    goal latched.

    A team can win without messages: one agent waits at a goal until it sees it latched, the other one goes
    round by all keys. With messages it need not go round.

    Parameters
    ----------
    size:
        Rows and columns, walls included, at least 5.
    agents:
        How many, 2 to 5.
    pairs:
        How many keys, and as many goals, 1 to 4.
    layout:
        ``"rows"``, ``"columns"`` or ``"diagonals"``: where keys and goals are.
    shuffled:
        Whether the goals are drawn among their places for each episode.
    view:
        Rows and columns that an agent sees, an odd number of at most 21.
    shaping:
        Share of the reward that comes as goals are latched, in [0, 1].
    step_reward:
        Reward for each goal as it is latched, besides.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For numbers out of these ranges, an even view, and a floor with fewer free cells than agents.

    Examples
    --------
    >>> AliceBob(agents=3).shape
    (3, 7, 24)

    Source: the game of this name that "MCS", arXiv 2511.03348, 2025, is tried on, as far as its details are
    known: ten rows and columns with walls, two agents, five moves, two keys and two goals at fixed corners, a
    goal that opens while its key is held, a reward of 1, a hundred steps, a view of three by three cells and
    one's own place. Chosen here: which corners, that starts are drawn and cells are shared, the numbers of
    agents, and whatever a parameter changes.
    """

    size: int = 10
    agents: int = 2
    pairs: int = 2
    layout: Layout = "rows"
    shuffled: bool = False
    view: int = 3
    shaping: float = 0.0
    step_reward: float = 0.0
    limit: int = field(default=100, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("size", self.size, least=5, most=1000)
        check_whole("agents", self.agents, least=2, most=MOST_AGENTS)
        check_whole("pairs", self.pairs, most=MOST_PAIRS)
        check_number("shaping", self.shaping, high=1, ends="[]")
        check_number("step_reward", self.step_reward)
        if check_whole("view", self.view, most=WIDEST) % 2 == 0:
            raise PerdureError(f"view must be an odd number of cells; found {self.view}")
        if len(self._free) < self.agents:
            raise PerdureError(
                f"size={self.size} and pairs={self.pairs} leave {len(self._free)} cells to start at, which "
                f"must be as many as the agents; found {self.agents} agents"
            )
        super().__post_init__()

    # ---- the grid -------------------------------------------------------------------------------------

    @property
    def _last(self) -> int:
        """The last row and column of the floor; the first one is 1."""
        return self.size - 2

    @cached_property
    def _places(self) -> tuple[list[Cell], list[Cell]]:
        """Cells of the keys and of the goals, by pair."""
        at = {"u": 1, "l": 1, "m": (self.size - 1) // 2, "d": self._last, "r": self._last}
        pairs = [
            [(at[place[0]], at[place[1]]) for place in pair] for pair in PLACES[self.layout][: self.pairs]
        ]
        keys, goals = zip(*pairs, strict=True)
        return list(keys), list(goals)

    @cached_property
    def _free(self) -> list[Cell]:
        """Cells where agents may start."""
        floor = range(1, self._last + 1)
        keys, goals = self._places
        return [(i, j) for i in floor for j in floor if (i, j) not in (*keys, *goals)]

    def _keys(self, like: Tensor) -> Tensor:
        return torch.tensor(self._places[0], device=like.device)

    # ---- the environment ------------------------------------------------------------------------------

    @property
    def team(self) -> int:
        return self.agents

    @property
    def entities(self) -> int:
        return self.agents + 2 * self.pairs

    @property
    def moves(self) -> int:
        return MOVES

    def reset(self, rng: Rng, n: int) -> State:
        place = drawn(rng, "start", self._free, n, self.agents)
        goals = self._places[1]
        if self.shuffled:
            goal = drawn(rng, "goals", goals, n, self.pairs)
        else:
            goal = torch.tensor(goals, device=place.device).expand(n, -1, -1).clone()
        return {"place": place, "goal": goal, "latched": torch.zeros_like(goal[..., 0], dtype=torch.bool)}

    def tables(self, state: State) -> Tensor:
        place, goal, latched = state["place"], state["goal"], state["latched"]
        numbers, pairs = (torch.arange(k, device=place.device) for k in (self.agents, self.pairs))
        mates = others(self.agents, place.device)
        here, keys = place.unsqueeze(2), self._keys(place)

        def seen(kind: str, where: Tensor, *more: Tensor) -> Tensor:
            away = where - here
            near = away.abs().amax(-1) <= self.view // 2
            return row(kind, away.float(), *more, present=near)

        own = row("agent", scaled(place, 1, self._last), *one_hot(numbers, MOST_AGENTS), own=True)
        pair = one_hot(pairs, MOST_PAIRS)
        return torch.cat(
            [
                own.unsqueeze(2),
                seen("agent", place[:, mates], *one_hot(mates, MOST_AGENTS)),
                seen("key", keys, *pair, self._held(place).unsqueeze(1)),
                seen("goal", goal.unsqueeze(1), *pair, latched.unsqueeze(1)),
            ],
            2,
        )

    def act(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        place, before = moved(state["place"], action, 1, self._last), state["latched"]
        reached = (place.unsqueeze(2) == state["goal"].unsqueeze(1)).all(-1).any(1)
        latched = before | (self._held(place) & reached)
        ended = latched.all(-1)
        won = ended & ~before.all(-1)
        new = (latched & ~before).sum(-1)
        reward = (1 - self.shaping) * won.float() + (self.shaping / self.pairs + self.step_reward) * new
        return {**state, "place": place, "latched": latched}, reward, ended

    def _held(self, place: Tensor) -> Tensor:
        """Return which keys someone stands on, ``[n, pairs]`` bool."""
        return (place.unsqueeze(2) == self._keys(place)).all(-1).any(1)

    # ---- pictures -------------------------------------------------------------------------------------

    def frame(self, state: State) -> Tensor:
        """Return pictures: agents blue, keys discs, goals boxes of their key's colour, full when latched."""
        place, goal, latched = state["place"], state["goal"], state["latched"]
        middle, half = self.size / 2, self.size / 2 - 1
        picture = Picture.blank(place, 0.0, 0.0, float(self.size)).box((middle, middle), middle, middle, GREY)
        picture = picture.box((middle, middle), half, half, WHITE)
        for k, (key, colour) in enumerate(zip(self._places[0], COLOURS, strict=False)):
            x, y = self._middle(goal[:, k])
            picture = picture.box((x, y), 0.45, 0.45, colour)
            # What is latched has its hollow elsewhere, out of the picture.
            hollow = x - 2.0 * self.size * latched[:, k]
            picture = picture.box((hollow, y), 0.25, 0.25, WHITE)
            picture = picture.disc((key[1] + 0.5, self.size - key[0] - 0.5), 0.45, colour)
        for k in range(self.agents):
            picture = picture.disc(self._middle(place[:, k]), 0.28, BLUE)
        return picture.bytes()

    def _middle(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and y of the middle of cells ``[n, 2]``, y upwards."""
        return cell[:, 1] + 0.5, self.size - cell[:, 0] - 0.5
