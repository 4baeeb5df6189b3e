"""Names keep their order: what hooks return is laid out as what they were given."""

from __future__ import annotations

from typing import Any

from perdure.errors import PerdureError


def ordered(like: Any, found: Any, who: str) -> Any:
    """Return ``found`` with its names, at every level, in the order that they have in ``like``.

    Stacked tensors go by their place, so the same names in another order would swap values.

    Parameters
    ----------
    like:
        Dictionaries, lists and tuples around tensors.
    found:
        The same, in any order of names. Other names are refused.
    who:
        What returned it, for the message.
    """
    if isinstance(like, dict):
        if not isinstance(found, dict):
            raise PerdureError(f"{who} must return a dictionary; found {type(found).__name__}")
        if list(like) != list(found):
            _check_names(like, found, who)
        return {k: ordered(v, found[k], who) for k, v in like.items()}
    if isinstance(like, list | tuple) and type(like) is type(found) and len(like) == len(found):
        values = [ordered(a, b, who) for a, b in zip(like, found, strict=True)]
        return type(like)(*values) if hasattr(like, "_fields") else type(like)(values)
    return found


def _check_names(like: dict[Any, Any], found: dict[Any, Any], who: str) -> None:
    """Refuse names that are missing or that nobody knows."""
    for said, names in (("leaves out", like.keys() - found.keys()), ("adds", found.keys() - like.keys())):
        if names:
            raise PerdureError(f"{who} must return the names that it was given; it {said} {min(names)!r}")
