"""A task on the simulated phone, by actions or by their numbers."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.core.errors import PerdureError, shown
from perdure.core.hints import MISFIT, as_whole
from perdure.envs.device.actions import Action
from perdure.envs.device.attempt import Attempt
from perdure.envs.device.coding import coding, seen
from perdure.envs.device.oracle import Oracle
from perdure.envs.device.phone import Phone
from perdure.envs.device.task import Task
from perdure.envs.numpy_rules import Array


class Episode(Attempt[Task, Phone, Action | int]):
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
        Which slots' values can be typed by number: told by the goal, or to be written and shown on a screen
        since.
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
        if not isinstance(task, Task):
            raise PerdureError(f"expected a task, such as get_task('SettingsWifi'); found {shown(task)}")
        super().__init__(task, Phone(task.catalogue))
        self.coding = coding()
        told = task.told()
        self.known = seen(task, self.phone, [name in told for name in task.params])

    def step(self, action: Action | int) -> float:
        reward = super().step(action)
        self.known = seen(self.task, self.phone, self.known)
        return reward

    def meant(self, action: Action | int) -> Action:
        if isinstance(action, Action):
            return action
        number = as_whole(action)
        if number is MISFIT or not 0 <= number < len(self.coding.actions):
            most = len(self.coding.actions) - 1
            raise PerdureError(f"expected an Action, or a number from 0 to {most}; found {shown(action)}")
        return self.coding.action(number, self.task, self.phone, self.known)

    def oracle(self) -> Iterable[Action]:
        """Return the actions of a policy that reaches the goal."""
        return Oracle(self.task, self.phone)

    def number(self, action: Action) -> int:
        """Return the number of an action."""
        return self.coding.number(action, self.task, self.phone)

    def observe(self) -> Array:
        """Return what a policy sees, ``[size]`` float32."""
        return self.coding.observe(self.task, self.phone, self.known, self.left)
