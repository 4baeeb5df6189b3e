"""Streams of environments that a policy is learned in: what their generators share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.envs.contract import Env
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
    worst: float = 0.0,
    best: float | None = None,
    notes: tuple[str, ...] = (),
) -> Stream:
    """Return a stream of environments with the same observations and actions.

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
        Bounds of the return, by which scores are brought to [0, 1]; none where the best is not known.
    notes:
        Of the stream.
    """
    check_whole("steps", steps)
    actions, shape = next((env.actions, env.shape) for env in envs.values())
    for task, env in envs.items():
        if (env.shape, env.actions) != (shape, actions):
            raise PerdureError(
                f"task {task!r}: expected the observations and actions of the first task, {shape} and "
                f"{actions}; found {env.shape} and {env.actions}"
            )
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
        **({} if best is None else {"worst": worst, "best": best}),
    }
    defaults = recipe.defaults(actions, steps)
    return Stream(name, tuple(tasks), setting, heads * each, notes=notes, info=info, defaults=defaults)


def first_of(envs: Mapping[str, E], tasks: int) -> dict[str, E]:
    """Return the first so many entries of a table: environments, or what they are made of."""
    check_whole("tasks", tasks)
    if tasks > len(envs):
        raise PerdureError(f"tasks must be at most {len(envs)}: {', '.join(envs)}; found {tasks}")
    return dict(list(envs.items())[:tasks])
