"""The table of environments."""

from __future__ import annotations

from collections.abc import Callable

from perdure.core.named import C, entering
from perdure.core.registry import Registry
from perdure.envs.contract import Env
from perdure.envs.ids import announce

ENVS: Registry[Env] = Registry("environment", "perdure.envs")


def environment(name: str) -> Callable[[C], C]:
    """Return a decorator that makes a class a frozen dataclass of its physics, and registers it.

    Gymnasium knows it as ``perdure/<Class>-v0`` from then on.

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
        announce(name, new)
        return new

    return made


def get(spec: str) -> Env:
    """Return the environment that ``"cartpole(gravity=20.0)"`` names."""
    return ENVS.get(spec)
