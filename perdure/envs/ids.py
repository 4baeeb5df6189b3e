"""Environments among Gymnasium's, under ``perdure/<Class>-v0``, without loading Gymnasium."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAMESPACE, LIBRARY = "perdure", "gymnasium"

# What each id was registered from: the name in the table of environments, and the usual length of an episode.
_KNOWN: dict[str, tuple[str, int]] = {}


def announce(name: str, kind: Any) -> None:
    """Enter a class of environments among Gymnasium's: at once, or as soon as Gymnasium is imported."""
    key = f"{NAMESPACE}/{kind.__name__}-v0"
    _KNOWN[key] = (name, kind.limit)
    if LIBRARY in sys.modules:
        _register(key)
    elif _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)


def _register(key: str) -> None:
    from gymnasium.envs.registration import register, registry

    name, limit = _KNOWN[key]
    # A cell of a notebook that is run again defines the same class once more: no case for a warning.
    if key in registry and registry[key].kwargs == {"env": name}:
        del registry[key]
    register(
        key,
        entry_point="perdure.envs.gym:Single",
        vector_entry_point="perdure.envs.gym:Batched",
        max_episode_steps=limit,
        kwargs={"env": name},
    )


class _Waiting(MetaPathFinder):
    """Finds Gymnasium as the other finders do, and registers what is known once it has been loaded.

    To import Gymnasium for those who never ask for it would cost every experiment; to register only where it
    is loaded already would make the order of two imports matter.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != LIBRARY:
            return None
        for finder in sys.meta_path:
            found = None if finder is self else finder.find_spec(fullname, path, target)
            if found is not None and found.loader is not None:
                self._register_after(found.loader)
                return found
        return None

    def _register_after(self, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            for key in _KNOWN:
                _register(key)

        loader.exec_module = exec_module


_WAITING = _Waiting()
