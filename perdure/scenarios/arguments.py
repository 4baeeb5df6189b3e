"""Checks of the plain numbers that generators and operators take."""

from __future__ import annotations

from perdure.arguments import check_number, check_whole

# More tasks than any stream has: each is a row and a column of the results.
MOST_TASKS = 10_000


def share(name: str, value: float, *, low: float = 0.0, high: float = 1.0, ends: str = "()") -> float:
    """Return ``value`` as a float when it lies between ``low`` and ``high``.

    ``ends`` says which ends belong to the range: ``"()"`` none, ``"(]"`` the upper one, ``"[]"`` both.
    """
    return float(check_number(f"`{name}`", value, low, high, ends))


def count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` as an int when it is a whole number of at least ``least``, and at most ``most``."""
    return check_whole(f"`{name}`", value, least, most)
