"""Streams of tasks on a simulated phone, learned from what an oracle does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_whole, checked
from perdure.core.errors import PerdureError
from perdure.envs.device.coding import FLAGS, coding
from perdure.envs.device.declare import CLASSES, ELEMENTS, VALUES
from perdure.envs.device.episode import Episode
from perdure.envs.device.layouts import layout
from perdure.envs.device.task import SLOTS, get_task, templates
from perdure.envs.device.world import Device, named
from perdure.envs.numpy_rules import Array
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators.acting import first_of
from perdure.scenarios.rl.acting import Acting
from perdure.scenarios.rl.imitation import Imitation

# Seeds of the instances that are learned from, chosen by, and scored on.
TRAIN, VAL, TEST = 0, 1, 2
SETTINGS = {"optimizer": "adam", "lr": 0.001, "epochs": 30, "batch_size": 64}


@checked
def device_apps(tasks: int = 4, *, instances: int = 20, episodes: int = 100) -> Stream:
    """Make tasks of using one app of a phone after the other, as an oracle does.

    A sample is what the phone shows and the number of the oracle's next action, in instances of all the app's
    templates; a score is the share of episodes, in other instances, that the policy declares done and that
    are. All tasks share one policy.

    Parameters
    ----------
    tasks:
        How many apps: those with the most templates.
    instances:
        How many instances of each template are learned from.
    episodes:
        How many episodes are scored; there are as many instances that they draw from, or a few more.
    """
    apps = {app: Use(app) for app in by_size()}
    return imitated("device-apps", first_of(apps, tasks), instances, episodes)


@checked
def device_templates(
    tasks: int = 5, app: str = "settings", *, instances: int = 50, episodes: int = 50
) -> Stream:
    """Make tasks of one template of an app after the other, as an oracle carries them out.

    Parameters
    ----------
    tasks:
        How many templates.
    app:
        The app, or ``"all"``.
    instances, episodes:
        As for :func:`device_apps`.
    """
    every = {name: Use(name) for name in named(app)}
    return imitated("device-templates", first_of(every, tasks), instances, episodes)


@checked
def device_layouts(
    tasks: int = 4, app: str = "settings", *, instances: int = 20, episodes: int = 100
) -> Stream:
    """Make tasks of using the same app, whose elements stand in another order from task to task.

    Parameters
    ----------
    tasks:
        How many layouts; the first one is the usual one.
    app:
        The app, or ``"all"``.
    instances, episodes:
        As for :func:`device_apps`.
    """
    uses = {f"layout {i}": Use(app, layout=i) for i in range(check_whole("tasks", tasks))}
    return imitated("device-layouts", uses, instances, episodes)


@checked
def device_parameters(
    tasks: int = 3, app: str = "calendar", *, instances: int = 20, episodes: int = 100
) -> Stream:
    """Make tasks of using the same app for other names, days, times and amounts, from task to task.

    The values that a field may have, in their order, are cut into as many stretches as there are tasks; the
    parameters of a task that are of this field draw from its own, to be learned from and to be scored on. So
    no value of such a parameter is in two tasks, whatever the template: with two, one has the days from Nov 1
    to 15, the other those from Nov 16 on. A parameter that has too few of the values in some stretch has
    all that it may have in all tasks, and templates all of whose parameters are such are left out. Templates,
    screens and the other contents of the phone are the same in all tasks. What is learned by what texts mean
    carries over, what is learned by which texts they are does not.

    Parameters
    ----------
    tasks:
        How many stretches.
    app:
        The app, a template, or ``"all"``.
    instances, episodes:
        As for :func:`device_apps`.

    Raises
    ------
    PerdureError
        Where no parameter has enough values.
    """
    parts = check_whole("tasks", tasks)
    uses = {f"part {i}": Use(app, part=i, parts=parts) for i in range(parts)}
    return imitated("device-parameters", uses, instances, episodes)


@checked
def device_screens(
    tasks: int = 4, app: str = "settings", *, instances: int = 20, episodes: int = 100
) -> Stream:
    """Make tasks of using the same app, whose screens have changed from task to task, as after an update.

    What changes: on every screen, the order of the elements that stay and of those of the contents, each
    screen in a way of its own; and on half of the screens there is a new button among those that stay, which
    leads to the list of apps. What does not: what elements say and do, the rows of lists, templates and
    their instances, and how many steps the oracle needs. In :func:`device_layouts`, on the other hand, all
    screens change in the same way, by a permutation of all places.

    Parameters
    ----------
    tasks:
        How many versions; the first one is the usual one.
    app:
        The app, a template, or ``"all"``.
    instances, episodes:
        As for :func:`device_apps`.
    """
    uses = {f"version {i}": Use(app, version=i) for i in range(check_whole("tasks", tasks))}
    return imitated("device-screens", uses, instances, episodes)


@dataclass(frozen=True)
class Use:
    """What a task uses a phone for: parameters of :class:`~perdure.envs.device.world.Device`."""

    word: str
    layout: int = 0
    part: int = 0
    parts: int = 1
    version: int = 0

    @property
    def names(self) -> list[str]:
        """The templates."""
        return named(self.word, self.parts)


def by_size() -> list[str]:
    """Return the apps that have templates, those with the most of them first."""
    counts: dict[str, int] = {}
    for kind in templates().values():
        counts[kind.app_names[0]] = counts.get(kind.app_names[0], 0) + 1
    return sorted(counts, key=lambda app: (-counts[app], app))


def imitated(name: str, tasks: Mapping[str, Use], instances: int, episodes: int) -> Stream:
    """Return a stream of tasks, by their names, that imitate what an oracle does."""
    check_whole("instances", instances)
    outputs = tuple(range(len(coding().actions)))
    made = []
    for title, use in tasks.items():
        train = Part(*shown(use, instances))
        val, test = (played(use, seed, episodes) for seed in (VAL, TEST))
        made.append(Task(title, train, val, test, outputs, Imitation()))
    info = {"tasks": list(tasks), "worst": 0.0, "best": 1.0}
    defaults = {"model": model(), **SETTINGS}
    return Stream(name, tuple(made), "domain", len(outputs), info=info, defaults=defaults)


def model() -> str:
    """Return the model that suits a phone: one that points at the elements of a screen."""
    points = [i for i, one in enumerate(coding().actions) if one.element == 0]
    features = [len(CLASSES) + len(FLAGS), VALUES, SLOTS, SLOTS]
    return f"pointer(elements={ELEMENTS}, features={features}, points={points})"


def played(use: Use, seed: int, episodes: int) -> Acting:
    """Return episodes of instances of a seed."""
    budget = max(templates()[one].budget() for one in use.names)
    # As many instances as episodes, which draw from them: few would be played again and again.
    each = -(-episodes // len(use.names))
    where = {"layout": use.layout, "part": use.part, "parts": use.parts, "version": use.version}
    env = Device(use.word, each, seed, **where)
    return Acting(
        horizon=1, passes=1, limit=budget, samples=1, env=env, copies=1, episodes=episodes,
        part={VAL: "val", TEST: "test"}[seed], first=0,
    )  # fmt: skip


def shown(use: Use, instances: int) -> tuple[Tensor, Tensor]:
    """Return what the oracle saw ``[n, size]`` and the numbers of what it did ``[n]``."""
    each = [_shown(name, i, use.part, use.parts, use.version) for name in use.names for i in range(instances)]
    x, y = (torch.from_numpy(np.concatenate(some)) for some in zip(*each, strict=True))
    places = layout(use.layout)
    return x[:, places.seen], places.undone[y]


@lru_cache(maxsize=4096)
def _shown(name: str, index: int, part: int, parts: int, version: int) -> tuple[Array, Array]:
    episode = Episode(get_task(name, TRAIN, index, part=part, parts=parts, version=version))
    seen, done = [], []
    for action in episode.oracle():
        seen.append(episode.observe())
        done.append(episode.number(action))
        episode.step(action)
        if episode.over:
            break
    if episode.reward != 1.0:
        raise PerdureError(
            f"expected an oracle that solves {name} {index}; found {episode.task.goal!r} undone"
        )
    return np.stack(seen), np.array(done, dtype=np.int64)
