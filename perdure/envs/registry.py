"""The table of environments, and their ids in Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium.envs.registration import register, registry

from perdure.core.named import C, entering
from perdure.core.registry import Registry
from perdure.envs.contract import Env

ENVS: Registry[Env] = Registry("environment", "perdure.envs")


def environment(name: str) -> Callable[[C], C]:
    """Return a decorator that makes a class a frozen dataclass of its physics, and registers it.

    Gymnasium knows it as ``perdure/<Class>-v0`` from then on (:mod:`perdure.envs.gym`).

    Examples
    --------
    >>> from perdure.envs import Env, environment
    >>> @environment("mine")
    ... class Mine(Env):
    ...     gravity: float = 9.8
    """
    enter = entering(ENVS, Env, "environment", name, repr=False)

    def made(kind: C) -> C:
        new = enter(kind)
        _announce(name, new)
        return new

    return made


def get(spec: str) -> Env:
    """Return the environment that ``"cartpole(gravity=20.0)"`` names."""
    return ENVS.get(spec)


def _announce(name: str, kind: Any) -> None:
    """Enter a class of environments in Gymnasium's table."""
    key = f"perdure/{kind.__name__}-v0"
    # A cell of a notebook that is run again defines the same class once more: no case for a warning.
    if key in registry and registry[key].kwargs == {"env": name}:
        del registry[key]
    register(
        key,
        entry_point=kind.entry_point,
        vector_entry_point="perdure.envs.gym:Batched",
        max_episode_steps=kind.limit,
        kwargs={"env": name},
    )
