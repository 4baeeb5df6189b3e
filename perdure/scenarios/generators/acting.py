"""Streams of environments, learned by proximal policy optimisation: what their generators share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.envs.actions import Continuous
from perdure.envs.contract import Env
from perdure.envs.hosted import Hosted
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.rl.hosted import HostRollouts
from perdure.scenarios.rl.ppo import PPO, Rollouts


@dataclass(frozen=True)
class Recipe:
    """How a policy is learned in an environment: the settings that work for it.

    Parameters
    ----------
    copies, horizon:
        Copies of the environment, and steps of a rollout of each.
    passes, batch_size, lr, schedule, norm:
        Passes over a rollout, samples of a step, Adam's learning rate, its schedule over a task, and the
        largest norm of a gradient.
    discount, trace, clip, entropy:
        As in :class:`perdure.scenarios.rl.Rollouts` and :class:`perdure.scenarios.rl.PPO`.
    hidden:
        Widths of the layers of policy and value.
    """

    copies: int = 8
    horizon: int = 32
    passes: int = 20
    batch_size: int = 256
    lr: float = 0.001
    schedule: str = "linear"
    norm: float = 0.5
    discount: float = 0.98
    trace: float = 0.8
    clip: float = 0.2
    entropy: float = 0.0
    hidden: tuple[int, ...] = (64, 64)


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
        Of the stream. In the task-incremental setting each task has a policy and a value of its own behind
        what all share; in the others there is one.
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
    first = next(iter(envs.values()))
    for task, env in envs.items():
        if (env.shape, env.actions) != (first.shape, first.actions):
            raise PerdureError(
                f"task {task!r}: expected the observations and actions of the first task, {first.shape} and "
                f"{first.actions}; found {env.shape} and {env.actions}"
            )
    each = first.actions.outputs + 1
    heads = len(envs) if setting == "task" else 1
    objective = PPO(first.actions, recipe.clip, entropy=recipe.entropy)
    tasks = []
    for i, (task, env) in enumerate(envs.items()):
        start = i * each if setting == "task" else 0
        kind: Any = HostRollouts if isinstance(env, Hosted) else Rollouts
        train = kind(
            horizon=recipe.horizon, passes=recipe.passes, limit=env.limit,
            samples=recipe.copies * recipe.horizon, env=env, copies=recipe.copies, episodes=episodes,
            part="test", first=start, discount=recipe.discount, trace=recipe.trace,
        )  # fmt: skip
        outputs = tuple(range(start, start + each))
        tasks.append(Task(task, train, replace(train, part="val"), train, outputs, objective))
    deviations = first.actions.d if isinstance(first.actions, Continuous) else 0
    model = f"actor-critic(hidden={list(recipe.hidden)}, each={each}, deviations={deviations})"
    defaults: dict[str, Any] = {
        "model": model,
        "epochs": -(-steps // (recipe.copies * recipe.horizon)),
        "batch_size": recipe.batch_size,
        "optimizer": "adam(eps=1e-5)",
        "lr": recipe.lr,
        "schedule": recipe.schedule,
        "clip": recipe.norm,
    }
    samples = recipe.copies * recipe.horizon
    info: dict[str, Any] = {
        "world_steps_per_step": samples / (recipe.passes * -(-samples // recipe.batch_size))
    }
    info |= {"tasks": list(envs), **({} if best is None else {"worst": worst, "best": best})}
    return Stream(name, tuple(tasks), setting, heads * each, notes=notes, info=info, defaults=defaults)


def first_of(envs: Mapping[str, Env], tasks: int) -> dict[str, Env]:
    """Return the first so many environments of a table."""
    check_whole("tasks", tasks)
    if tasks > len(envs):
        raise PerdureError(f"tasks must be at most {len(envs)}: {', '.join(envs)}; found {tasks}")
    return dict(list(envs.items())[:tasks])
