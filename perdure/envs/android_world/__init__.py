"""The real AndroidWorld (Rawles et al., 2024, arXiv 2405.14573), for what was made for the simulated phone.

AndroidWorld needs an emulator and packages of its own, which are not imported here: it runs in a Python of
yours that has it, and this one speaks with that by lines of JSON. Install it as
github.com/google-research/android_world says, start the emulator, and give the path of that Python:

>>> from perdure.envs.android_world import AndroidWorld
>>> from perdure.envs.device import Action, render
>>> with AndroidWorld("/venvs/android/bin/python") as world:  # doctest: +SKIP
...     episode = world.episode("ContactsAddContact", seed=30)
...     print(episode.task.goal, render(episode.phone), sep="\\n")
...     episode.step(Action("open_app", app_name="contacts"))

``perdure device ContactsAddContact --android-world /venvs/android/bin/python`` does so in the terminal.

Episodes, phones and tasks have the methods of the readable phone's (:mod:`perdure.envs.device`): elements of
the same type, the same actions, a budget of steps, success that counts only once the agent has declared the
task complete. A policy from an episode to an action runs on both. What differs: apps, tasks and wordings are
others; typing presses Enter too; whether there is more above or below is not known before it is tried;
contents cannot be looked into, and there is no oracle; classes are Android's, without their package.

**It has been run against a stand-in with the package's interface only, never against an emulator**: that
interface is the package's of February 2026.
"""

from perdure.envs.android_world.world import AndroidEpisode, AndroidPhone, AndroidTask, AndroidWorld

__all__ = ["AndroidEpisode", "AndroidPhone", "AndroidTask", "AndroidWorld"]
