"""Checks of the plain numbers that generators and operators take."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from perdure.errors import PerdureError


def share(name: str, value: float, *, low: float = 0.0, high: float = 1.0, ends: str = "()") -> float:
    """Return ``value`` as a float when it lies between ``low`` and ``high``.

    ``ends`` says which ends belong to the range: ``"()"`` none, ``"(]"`` the upper one, ``"[]"`` both.
    """
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # whole numbers have no largest one
            number = float(value)
    inside = low < number < high or (ends[0] == "[" and number == low) or (ends[1] == "]" and number == high)
    if not inside:
        raise PerdureError(f"`{name}` must be in {ends[0]}{low:g}, {high:g}{ends[1]}; found {value!r}")
    return number


def count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` as an int when it is a whole number of at least ``least`` and at most ``most``."""
    number = least - 1
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # arrays have the method, and refuse when they are no number
            number = operator.index(value)
    if number < least:
        raise PerdureError(f"`{name}` must be a whole number of at least {least}; found {value!r}")
    if most is not None and number > most:
        raise PerdureError(f"`{name}` must be a whole number of at most {most}; found {value!r}")
    return number


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
