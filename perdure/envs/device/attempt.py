"""One task on one phone, whatever phone it is: steps are counted, and the end is rewarded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from perdure.core.errors import PerdureError
from perdure.envs.device.actions import Action


class Usable(Protocol):
    """A phone that actions are carried out on."""

    status: str | None

    def do(self, action: Action) -> None: ...


P = TypeVar("P", bound=Usable)
P_contra = TypeVar("P_contra", bound=Usable, contravariant=True)


class Doable(Protocol[P_contra]):
    """A task of such phones."""

    def budget(self) -> int: ...

    def initialize_task(self, phone: P_contra) -> None: ...

    def is_successful(self, phone: P_contra) -> float: ...


T = TypeVar("T", bound=Doable[Any])
A = TypeVar("A")


class Attempt(Generic[T, P, A]):
    """A task that is being carried out: over at the status, or when the task's budget is used up.

    Parameters
    ----------
    task:
        The task; the phone is prepared for it.
    phone:
        The phone.

    Attributes
    ----------
    left:
        How many steps are left.
    over, reward:
        Whether it has ended, and with what.
    """

    def __init__(self, task: T, phone: P) -> None:
        self.task, self.phone = task, phone
        task.initialize_task(phone)
        self.left, self.over, self.reward = task.budget(), False, 0.0

    def step(self, action: A) -> float:
        """Carry out an action; return the reward.

        Raises
        ------
        PerdureError
            Where the episode is over, and for what is no action.
        """
        if self.over:
            raise PerdureError("expected a new episode: this one is over")
        self.phone.do(self.meant(action))
        self.left -= 1
        self.over = self.phone.status is not None or self.left <= 0
        self.reward = self.task.is_successful(self.phone)
        return self.reward

    def play(self, actions: Iterable[A]) -> float:
        """Carry out actions until the episode is over; return the last reward."""
        for action in actions:
            self.step(action)
            if self.over:
                break
        return self.reward

    def meant(self, action: A) -> Action:
        """Return the action as the phone takes it, which refuses what is none."""
        return cast(Action, action)
