"""The contract of teams: several agents that act at once, each on what it sees, for one reward."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.entities import FEATURES
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.actions import Team
from perdure.envs.contract import Env


@dataclass(frozen=True, repr=False)
class TeamEnv(Env):
    """An environment of several agents, each of which sees a table of entities.

    What agent ``i`` sees is ``table[i] [entities, FEATURES]``: a row for each entity, the agent itself first.
    The columns are the same in every environment of teams (:func:`perdure.core.entities.row` makes one), so
    one policy may learn in several. An action of an agent is one of :attr:`moves`, or it is taken on an
    entity of its table: the number of moves plus the entity's row. All agents act at once, for one reward.

    Tasks of a stream need tables of one size and one number of actions. An environment is therefore padded to
    ``seats`` agents, ``slots`` entities and ``choices`` moves: padding is rows of zeros, agents that are not
    there (whose actions do nothing), and moves that are the first one, which should be to wait.

    An environment says :attr:`team`, :attr:`entities`, :attr:`moves`, and has :meth:`reset`, :meth:`tables`
    and :meth:`act`; everything else is made of these. Subclasses are frozen dataclasses.

    Parameters
    ----------
    seats, slots, choices:
        What it is padded to: agents, entities of a table, and moves; by default what it has.
    """

    seats: int | None = field(default=None, kw_only=True)
    slots: int | None = field(default=None, kw_only=True)
    choices: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, has in (("seats", self.team), ("slots", self.entities), ("choices", self.moves)):
            asked = getattr(self, name)
            if asked is not None and check_whole(name, asked, most=10_000) < has:
                raise PerdureError(f"{name} must be at least {has}, which {self.name} has; found {asked}")

    # ---- what an environment says ---------------------------------------------------------------------

    @property
    @abstractmethod
    def team(self) -> int:
        """How many agents there are."""

    @property
    @abstractmethod
    def entities(self) -> int:
        """How many rows an agent's table has, its own included."""

    @property
    @abstractmethod
    def moves(self) -> int:
        """How many actions need no entity; the first one is to wait."""

    @abstractmethod
    def tables(self, state: State) -> Tensor:
        """Return what each agent sees, ``[n, team, entities, FEATURES]``, numbers in [-10, 10]."""

    @abstractmethod
    def act(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        """Return the state after actions ``[n, team]``, the rewards ``[n]``, and what has ended ``[n]``.

        An action is a move, or ``moves`` plus the row of the entity that it is taken on.
        """

    # ---- what follows of it ---------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Agents, entities and moves, padding included."""
        padded = ((self.seats, self.team), (self.slots, self.entities), (self.choices, self.moves))
        agents, rows, moves = (has if asked is None else asked for asked, has in padded)
        return agents, rows, moves

    @property
    def shape(self) -> tuple[int, ...]:
        agents, rows, _ = self.sizes
        return agents, rows, FEATURES

    @property
    def actions(self) -> Team:
        agents, rows, moves = self.sizes
        return Team(agents, moves + rows)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full(self.shape, 10.0)
        return -high, high

    def observe(self, state: State) -> Tensor:
        agents, rows, _ = self.sizes
        missing = (0, 0, 0, rows - self.entities, 0, agents - self.team)
        return torch.nn.functional.pad(self.tables(state), missing)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        _, _, moves = self.sizes
        action = action[:, : self.team]
        move = torch.where(action < self.moves, action, 0)
        # An entity of the padding is nobody.
        on = torch.where(action < moves + self.entities, action - moves + self.moves, 0)
        return self.act(state, torch.where(action < moves, move, on), rng)
