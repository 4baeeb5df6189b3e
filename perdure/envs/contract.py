"""The contract of environments: pure functions over tensors, many copies side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.named import Named
from perdure.core.random import Rng
from perdure.envs.actions import Actions


@dataclass(frozen=True, repr=False)
class Env(Named, ABC):
    """An environment: where copies start, what they show, and how they go on.

    All functions are pure, over tensors whose first axis is that of the copies, without a branch on a value:
    they are recorded, and mapped over replicas. A state is a dictionary of such tensors; copies do not
    influence each other. Whoever runs it starts copies anew when their episode has ended, and cuts episodes
    off after :attr:`limit` steps. Subclasses are frozen dataclasses of their physics.

    Parameters
    ----------
    limit:
        Steps after which an episode is cut off.
    """

    limit: int = field(default=500, kw_only=True)

    # What Gymnasium makes one copy with.
    entry_point: ClassVar[str] = "perdure.envs.gym:Single"

    def __post_init__(self) -> None:
        check_whole("limit", self.limit)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of an observation; a class whose observations have one shape may say it as an attribute."""

    @property
    @abstractmethod
    def actions(self) -> Actions:
        """What can be done."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Least and largest observation, each of the shape of one; infinite where there is no bound."""

    @abstractmethod
    def reset(self, rng: Rng, n: int) -> State:
        """Return ``n`` copies as their episodes start."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Return what copies show of their state, ``[n, *shape]``."""

    @abstractmethod
    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        """Return the state after an action ``[n]`` or ``[n, d]``, the rewards ``[n]``, and what has ended.

        The last, ``[n]`` bool, says where the episode is over because of what happened, not because time ran
        out: the value of what would have followed is zero.
        """

    def frame(self, state: State) -> Tensor:
        """Return a small picture of each copy for people to look at, ``[n, height, width, 3]`` uint8.

        Optional: nothing is learned from it, but reports show by it what policies do. It is a function of the
        state, pure like the others;
        :class:`perdure.envs.drawing.Picture` has lines, discs and boxes.

        Raises
        ------
        PerdureError
            Where an environment has no pictures.
        """
        raise PerdureError(f"{self.name} does not say what it looks like: override `frame`")
