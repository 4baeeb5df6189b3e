"""One task on one phone: steps are counted, and the end is rewarded."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.core.errors import PerdureError, shown
from perdure.envs.device.actions import Action
from perdure.envs.device.coding import coding, seen
from perdure.envs.device.oracle import Oracle
from perdure.envs.device.phone import Phone
from perdure.envs.device.task import Task
from perdure.envs.numpy_rules import Array


class Episode:
    """A task that is being carried out, by actions or by their numbers.

    It is over at the status, or when the task's budget is used up.

    Parameters
    ----------
    task:
        The task; the phone is prepared for it.

    Attributes
    ----------
    phone:
        The phone.
    left:
        How many steps are left.
    known:
        Which slots' values can be typed by number: told by the goal, or shown on a screen since.
    over, reward:
        Whether it has ended, and with what.

    Examples
    --------
    >>> from perdure.envs.device import get_task
    >>> episode = Episode(get_task("SettingsWifi"))
    >>> episode.play(episode.oracle())
    1.0
    """

    def __init__(self, task: Task) -> None:
        self.task, self.phone, self.coding = task, Phone(task.catalogue), coding()
        task.initialize_task(self.phone)
        self.left, self.over, self.reward = task.budget(), False, 0.0
        told = task.told()
        self.known = seen(task, self.phone, [name in told for name in task.params])

    def step(self, action: Action | int) -> float:
        """Carry out an action, or the one of a number; return the reward.

        Raises
        ------
        PerdureError
            Where the episode is over, and for a number that no action has.
        """
        if self.over:
            raise PerdureError("expected a new episode: this one is over")
        if not isinstance(action, Action):
            if type(action) is not int or not 0 <= action < len(self.coding.actions):
                most = len(self.coding.actions) - 1
                raise PerdureError(f"expected an Action, or a number from 0 to {most}; found {shown(action)}")
            action = self.coding.action(action, self.task, self.phone, self.known)
        self.phone.do(action)
        self.left -= 1
        self.known = seen(self.task, self.phone, self.known)
        self.over = self.phone.status is not None or self.left == 0
        self.reward = self.task.is_successful(self.phone)
        return self.reward

    def play(self, actions: Iterable[Action | int]) -> float:
        """Carry out actions until the episode is over; return the last reward."""
        for action in actions:
            self.step(action)
            if self.over:
                break
        return self.reward

    def oracle(self) -> Iterable[Action]:
        """Return the actions of a policy that reaches the goal."""
        return Oracle(self.task, self.phone)

    def number(self, action: Action) -> int:
        """Return the number of an action."""
        return self.coding.number(action, self.task, self.phone)

    def observe(self) -> Array:
        """Return what a policy sees, ``[size]`` float32."""
        return self.coding.observe(self.task, self.phone, self.known, self.left)
