"""Checks of the plain numbers that generators and operators take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError


def share(name: str, value: float, *, low: float = 0.0, high: float = 1.0, ends: str = "()") -> float:
    """Return ``value`` as a float when it lies between ``low`` and ``high``.

    ``ends`` says which ends belong to the range: ``"()"`` none, ``"(]"`` the upper one, ``"[]"`` both.
    """
    return float(check_number(f"`{name}`", value, low, high, ends))


def count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` as an int when it is a whole number of at least ``least`` and at most ``most``."""
    return check_whole(f"`{name}`", value, least, most)


def flag(name: str, value: object) -> bool:
    """Return ``value`` when it is True or False: any text, "no" too, would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise PerdureError(f"`{name}` must be True or False; found {value!r}")
    return bool(value)


def one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of some words."""
    if not isinstance(value, str) or value not in allowed:
        raise PerdureError(f"`{name}` must be one of {', '.join(allowed)}; found {value!r}")


def texts(name: str, values: object) -> list[str]:
    """Return a list of names (whole numbers count as such) as a list of str."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise PerdureError(f"`{name}` must be a list of names; found {values!r}")
    for value in values:
        if not isinstance(value, (str, int, np.integer)) or isinstance(value, bool):
            raise PerdureError(f"`{name}` must be a list of names; found {value!r} in it")
    return [str(value) for value in values]
