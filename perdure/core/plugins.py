"""Plugins of other packages, found through their entry points."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points

_LOADED: set[str] = set()


def load_plugins(group: str) -> None:
    """Import what other packages offer in an entry-point group, once; importing it registers it.

    What cannot be imported is a warning, and the others are there all the same.

    Parameters
    ----------
    group:
        Such as ``"perdure.strategies"``; nothing is imported for ``""``.
    """
    if not group or group in _LOADED:
        return
    _LOADED.add(group)  # before: a plugin may ask for names while it is imported
    for entry in sorted(entry_points(group=group)):
        try:
            entry.load()
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            warnings.warn(
                f"the plugin {entry.value} of {entry.dist.name if entry.dist else 'a package'}, in {group}, "
                f"cannot be loaded and is left out: {type(error).__name__}: {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
