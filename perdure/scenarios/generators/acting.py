"""Streams of environments that a policy is learned in: what their generators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.padded import of_one_size
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators.recipes import Recipe

E = TypeVar("E")


def acting(
    name: str,
    envs: Mapping[str, Env],
    recipe: Recipe,
    setting: Setting,
    steps: int,
    episodes: int,
    worst: float | Sequence[float] = 0.0,
    best: float | Sequence[float] | None = None,
    notes: tuple[str, ...] = (),
) -> Stream:
    """Return a stream of environments.

    Environments of different sizes are padded to the largest (:func:`perdure.envs.padded.of_one_size`):
    observations with zeros, and the outputs of actions that a task does not have are closed to it, in every
    setting. They are never taken, and count neither in the loss nor in what a strategy measures.

    Parameters
    ----------
    name, setting:
        Of the stream. In the task-incremental setting each task has outputs of its own (a policy and a value,
        or values of actions) behind what all share; in the others all share them.
    envs:
        The environment of each task, by the task's name.
    recipe:
        How a policy is learned: what a comparison on the stream takes unless it is told otherwise.
    steps:
        Steps of the environment that each task is learned for; whole rollouts, one at least.
    episodes:
        How many episodes are scored.
    worst, best:
        Bounds of the return, by which scores are brought to [0, 1], one for all or for each task; none where
        the best is not known.
    notes:
        Of the stream.

    Raises
    ------
    PerdureError
        For environments that cannot be brought to one size: pixels beside rows of numbers, real numbers as
        actions beside one of several.
    """
    check_whole("steps", steps)
    envs = of_one_size(envs)
    found = next(iter(envs.values())).actions
    # Actions that the task lacks are closed before an objective sees them: one is for all tasks.
    actions = Discrete(found.outputs) if isinstance(found, Discrete) else found
    each = recipe.reads(actions)
    heads = len(envs) if setting == "task" else 1
    objective = recipe.objective(actions)
    tasks = []
    for i, (task, env) in enumerate(envs.items()):
        start = i * each if setting == "task" else 0
        train = recipe.world(env, steps, episodes, start)
        outputs = tuple(range(start, start + each))
        tasks.append(Task(task, train, replace(train, part="val"), train, outputs, objective))
    # Samples of a rollout are passed over in so many steps of training.
    steps_of_training = train.passes * -(-len(train) // recipe.batch_size)
    info: dict[str, Any] = {
        "tasks": list(envs),
        "world_steps_per_step": recipe.copies * recipe.horizon / steps_of_training,
        **({} if best is None else {"worst": _plain(worst), "best": _plain(best)}),
    }
    defaults = recipe.defaults(actions, steps)
    return Stream(name, tuple(tasks), setting, heads * each, notes=notes, info=info, defaults=defaults)


def _plain(bound: float | Sequence[float]) -> float | list[float]:
    return list(bound) if isinstance(bound, Sequence) else bound


def first_of(envs: Mapping[str, E], tasks: int) -> dict[str, E]:
    """Return the first so many entries of a table: environments, or what they are made of."""
    check_whole("tasks", tasks)
    if tasks > len(envs):
        raise PerdureError(f"tasks must be at most {len(envs)}: {', '.join(envs)}; found {tasks}")
    return dict(list(envs.items())[:tasks])
