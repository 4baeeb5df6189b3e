"""Streams of tasks on a simulated phone, learned from what an oracle does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_whole, checked
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
        How many episodes are scored.
    """
    apps = {app: app for app in by_size()}
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
    every = {name: name for name in named(app)}
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
    titles = [f"layout {i}" for i in range(check_whole("tasks", tasks))]
    words = dict.fromkeys(titles, app)
    return imitated("device-layouts", words, instances, episodes, layouts=tuple(range(tasks)))


def by_size() -> list[str]:
    """Return the apps that have templates, those with the most of them first."""
    counts: dict[str, int] = {}
    for kind in templates().values():
        counts[kind.app_names[0]] = counts.get(kind.app_names[0], 0) + 1
    return sorted(counts, key=lambda app: (-counts[app], app))


def imitated(
    name: str, tasks: Mapping[str, str], instances: int, episodes: int, layouts: Sequence[int] | None = None
) -> Stream:
    """Return a stream whose tasks are apps or templates, by the task's name, each in a layout."""
    check_whole("instances", instances)
    outputs = tuple(range(len(coding().actions)))
    made = []
    for number, (title, word) in zip(layouts or [0] * len(tasks), tasks.items(), strict=True):
        train = Part(*shown(named(word), instances, number))
        val, test = (played(word, seed, number, episodes) for seed in (VAL, TEST))
        made.append(Task(title, train, val, test, outputs, Imitation()))
    info = {"tasks": list(tasks), "worst": 0.0, "best": 1.0}
    defaults = {"model": model(), **SETTINGS}
    return Stream(name, tuple(made), "domain", len(outputs), info=info, defaults=defaults)


def model() -> str:
    """Return the model that suits a phone: one that points at the elements of a screen."""
    points = [i for i, one in enumerate(coding().actions) if one.element == 0]
    features = [len(CLASSES) + len(FLAGS), VALUES, SLOTS, SLOTS]
    return f"pointer(elements={ELEMENTS}, features={features}, points={points})"


def played(word: str, seed: int, number: int, episodes: int) -> Acting:
    """Return episodes of instances of a seed, in a layout of some number."""
    budget = max(templates()[one].budget() for one in named(word))
    return Acting(
        horizon=1, passes=1, limit=budget, samples=1, env=Device(word, seed=seed, layout=number), copies=1,
        episodes=episodes, part={VAL: "val", TEST: "test"}[seed], first=0,
    )  # fmt: skip


def shown(names: Iterable[str], instances: int, number: int) -> tuple[Tensor, Tensor]:
    """Return what the oracle saw ``[n, size]`` and the numbers of what it did ``[n]``, in a layout."""
    each = [_shown(name, i) for name in names for i in range(instances)]
    x, y = (torch.from_numpy(np.concatenate(some)) for some in zip(*each, strict=True))
    places = layout(number)
    return x[:, places.seen], places.undone[y]


@lru_cache(maxsize=4096)
def _shown(name: str, index: int) -> tuple[Array, Array]:
    episode = Episode(get_task(name, TRAIN, index))
    seen, done = [], []
    for action in episode.oracle():
        seen.append(episode.observe())
        done.append(episode.number(action))
        episode.step(action)
        if episode.over:
            break
    return np.stack(seen), np.array(done, dtype=np.int64)
