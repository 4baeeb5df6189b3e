"""Particles in the plane: agents that push themselves, run into each other, and utter symbols."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.entities import EXTRAS, row
from perdure.core.random import Rng
from perdure.envs.drawing import Picture, Point
from perdure.envs.multi_agent.contract import TeamEnv

STEP, DAMPING = 0.1, 0.25  # seconds, and the share of a velocity that is lost in a step
PUSH = 5.0  # force of a move, on a mass of 1
STIFFNESS, MARGIN = 100.0, 1e-3  # force per depth of a contact, and how soft its edge is
MOVES = 5  # stay, left, right, down, up
FARTHEST = 10.0  # what is seen is cut to this
VIEW = 1.6  # half the width of a picture


@dataclass(frozen=True, repr=False)
class Particles(TeamEnv):
    """Agents that are discs of mass 1 in the plane, without walls, and may utter symbols.

    A move stays, or pushes left, right, down or up with a force of 5. With the position ``p``, the velocity
    ``v`` and the force ``f``, those of contacts included (:func:`contact`), a step of .1 s is::

        p <- p + .1 v
        v <- .75 v + .1 f

    With ``talk`` symbols an agent also utters one at each step, which the others see in its row at the next
    one: action ``move + 5 symbol``. The symbol is one-hot in the last numbers of that row, the first symbol
    in the very last; nothing has been said when an episode starts. An action on an entity is the first
    move. Episodes start at rest anywhere in [-1, 1]^2, and only time ends them. What is seen is cut to
    [-10, 10].

    The reward of the team is the mean of those of its agents, :meth:`rewards`. An environment says those and
    the :attr:`team`, and has :meth:`reset` (with :meth:`scattered`) and :meth:`tables`.

    Parameters
    ----------
    talk:
        How many symbols there are, 0 to 11; with 0 agents only move, and a single one says nothing.
    limit:
        Steps after which an episode is cut off.

    Source: the particle environments of Lowe et al., "Multi-agent actor-critic for mixed
    cooperative-competitive environments", NeurIPS 2017, arXiv 1706.02275, with the formulas of the package
    mpe2. Deviation: agents at the very same point do not push each other, where mpe2 divides by zero.
    """

    talk: int = field(default=0, kw_only=True)
    limit: int = field(default=25, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("talk", self.talk, least=0, most=EXTRAS)
        super().__post_init__()

    @abstractmethod
    def rewards(self, state: State) -> Tensor:
        """Return what each agent is rewarded for a step that has led to a state, ``[n, team]``."""

    @property
    def moves(self) -> int:
        return MOVES * max(1, self.talk)

    def forces(self, state: State) -> Tensor | float:
        """Return the forces on agents other than their own, ``[n, team, 2]``; by default there are none."""
        return 0.0

    def decoded(self, move: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of the five moves each agent makes, and which symbol it utters, ``[n, team]``."""
        return move % MOVES, move // MOVES

    def scattered(self, rng: Rng, n: int, landmarks: int) -> State:
        """Return agents at rest and landmarks, anywhere; nothing has been said."""
        position = 2 * rng.uniform("position", n, self.team, 2) - 1
        return {
            "position": position,
            "velocity": torch.zeros_like(position),
            "landmarks": 2 * rng.uniform("landmarks", n, landmarks, 2) - 1,
            "said": torch.full_like(position[..., 0], -1, dtype=torch.int64),
        }

    def act(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        move, said = self.decoded(torch.where(action < self.moves, action, 0))
        position, velocity = state["position"], state["velocity"]
        force = PUSH * direction(move).to(position.dtype) + self.forces(state)
        new = {
            **state,
            "position": position + STEP * velocity,
            "velocity": (1 - DAMPING) * velocity + STEP * force,
            "said": said if self.talk else state["said"],
        }
        reward = self.rewards(new).mean(-1)
        return new, reward, torch.zeros_like(reward, dtype=torch.bool)

    # ---- what is seen ---------------------------------------------------------------------------------

    def own_rows(self, state: State, place: Tensor) -> Tensor:
        """Return the agents' own rows, with their velocities, ``[n, team, 1, FEATURES]``."""
        return row("agent", cut(place), *cut(state["velocity"]).unbind(-1), own=True).unsqueeze(2)

    def other_rows(self, state: State, place: Tensor) -> Tensor:
        """Return the rows of the others, with what they have said, ``[n, team, team - 1, FEATURES]``."""
        said = others(state["said"])
        nothing = [torch.zeros_like(place[..., 0])] * (EXTRAS - self.talk)
        symbols = [said == symbol for symbol in reversed(range(self.talk))]
        return row("agent", cut(place), *nothing, *symbols)

    def view(self, state: State) -> Picture:
        """Return an empty picture of the plane around where episodes start."""
        return Picture.blank(state["position"], -VIEW, -VIEW, VIEW)


def direction(move: Tensor) -> Tensor:
    """Return where moves go, ``[..., 2]``: stay, left, right, down, up."""
    x = (move == 2).long() - (move == 1).long()
    y = (move == 4).long() - (move == 3).long()
    return torch.stack([x, y], -1)


def contact(position: Tensor, radius: float) -> Tensor:
    """Return the forces of discs on each other, ``[n, team, 2]``.

    The force on ``i`` is the sum over ``j`` of ``100 k log(1 + exp((2 radius - d) / k)) (p_i - p_j) / d``,
    ``d`` the distance of the two and ``k = .001``: nearly 100 times the depth, where they overlap.
    """
    gap = position.unsqueeze(2) - position.unsqueeze(1)
    apart = length(gap).unsqueeze(-1)
    depth = torch.nn.functional.softplus(2 * radius - apart, beta=1 / MARGIN)
    # The gap of an agent to itself is 0, and so is its force.
    force: Tensor = (STIFFNESS * depth * gap / apart.clamp_min(1e-12)).sum(2)
    return force


def length(vector: Tensor) -> Tensor:
    """Return the lengths of vectors ``[..., 2]``."""
    return vector.square().sum(-1).sqrt()


def others(values: Tensor) -> Tensor:
    """Return the other agents' values for each agent, the next one's first: ``[n, team, team - 1, ...]``."""
    return torch.stack([values.roll(-k, 1) for k in range(1, values.shape[1])], 2)


def gaps(state: State) -> Tensor:
    """Return where the landmarks are from each agent, ``[n, team, landmarks, 2]``."""
    gap: Tensor = state["landmarks"].unsqueeze(1) - state["position"].unsqueeze(2)
    return gap


def middles(places: Tensor) -> list[Point]:
    """Return x and y of places ``[n, m, 2]``, one after the other."""
    return [(place[:, 0], place[:, 1]) for place in places.unbind(1)]


def cut(seen: Tensor) -> Tensor:
    """Return what is seen within the bounds of tables."""
    return seen.clamp(-FARTHEST, FARTHEST)
