"""The table of environments."""

from __future__ import annotations

from collections.abc import Callable

from perdure.core.named import C, entering
from perdure.core.registry import Registry
from perdure.envs.contract import Env

ENVS: Registry[Env] = Registry("environment", "perdure.envs")


def environment(name: str) -> Callable[[C], C]:
    """Return a decorator that makes a class a frozen dataclass of its physics, and registers it.

    Examples
    --------
    >>> from perdure.envs import Env, environment
    >>> @environment("mine")
    ... class Mine(Env):
    ...     gravity: float = 9.8
    """
    return entering(ENVS, Env, "environment", name, repr=False)


def get(spec: str) -> Env:
    """Return the environment that ``"cartpole(gravity=20.0)"`` names."""
    return ENVS.get(spec)
