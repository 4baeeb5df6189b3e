"""What Gymnasium's environments are made of: ids, wrappers, and attributes that are set afterwards."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from perdure.core.errors import PerdureError, shown

# Steps of an episode where Gymnasium says none; environments may end it sooner themselves.
LIMIT = 1000
# Extras that bring environments.
EXTRAS = ("minigrid", "mujoco")
# What attributes are set to, by their paths: a number, or an array of numbers.
Physics = tuple[tuple[str, float | tuple[float, ...]], ...]


def steps_in(id: str) -> int:
    """Return after how many steps Gymnasium cuts an episode off; refuse an id that it does not know."""
    module, _, rest = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        limit = gymnasium.spec(rest).max_episode_steps
    except gymnasium.error.Error as error:
        unheard = isinstance(error, gymnasium.error.NameNotFound | gymnasium.error.NamespaceNotFound)
        hint = " Ids of a package are written 'package:id'." if unheard and not module else ""
        raise PerdureError(f"Gymnasium has no environment {shown(id)}: {error}{hint}") from error
    except Exception as error:  # whatever a package stumbles over
        extra = f" (pip install perdure[{module}])" if module in EXTRAS else ""
        raise PerdureError(f"{shown(id)} needs the package {module}{extra}: {error}") from error
    return LIMIT if limit is None else limit


def imported(path: str) -> Callable[..., Any]:
    """Return what ``"module:name"`` means."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a module stumbles over
        raise PerdureError(f"expected a wrapper 'module:name'; found {shown(path)}: {error}") from error
    if not callable(found):
        raise PerdureError(f"expected a wrapper 'module:name'; {shown(path)} cannot be called")
    return found  # type: ignore[no-any-return]


def _attribute(env: gymnasium.Env[Any, Any], id: str, path: str) -> tuple[Any, str, Any]:
    """Return the owner of an attribute of the environment within all wrappers, its name and its value."""
    owner, value, name = None, env.unwrapped, ""
    for name in path.split("."):
        if not hasattr(value, name):
            raise PerdureError(
                f"{id} has no attribute {path!r} to set: {type(value).__name__} lacks {name!r}"
            )
        owner, value = value, getattr(value, name)
    return owner, name, value


def set_attribute(env: gymnasium.Env[Any, Any], id: str, path: str, value: float | tuple[float, ...]) -> None:
    """Set a number or an array of the environment within all wrappers; refuse what is not there."""
    owner, name, old = _attribute(env, id, path)
    number = isinstance(old, int | float | np.number) and not isinstance(old, bool)
    if not (number or isinstance(old, np.ndarray)) or np.shape(old) != np.shape(value):
        expected = f"an array {list(old.shape)}" if isinstance(old, np.ndarray) else "a number"
        expected = expected if number or isinstance(old, np.ndarray) else f"no {type(old).__name__} there"
        raise PerdureError(f"{id}: {path} must be {expected}; found {shown(value)}")
    setattr(owner, name, np.asarray(value, dtype=old.dtype) if isinstance(old, np.ndarray) else value)


def check_lasts(env: gymnasium.Env[Any, Any], id: str, physics: Physics) -> None:
    """Refuse attributes that are not what they were set to."""
    for path, value in physics:
        found = _attribute(env, id, path)[2]
        if not np.allclose(found, value):
            raise PerdureError(
                f"{id} must keep {path} = {value} when an episode starts; found {shown(found)}"
            )
