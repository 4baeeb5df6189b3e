"""The one kind of error that a user's input can cause, and how it is worded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any


class PerdureError(ValueError):
    """Bad input: one line that says what was expected and what was found.

    The command line prints the line and exits with status 2, without a traceback.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> PerdureError:
    """Build the error for a name that is not registered, with the nearest names there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(names)}."
    return PerdureError(f"unknown {kind} {name!r}: {hint}")


def check_pattern(pattern: Any, what: str) -> None:
    """Refuse what is not a regular expression."""
    try:
        re.compile(pattern)
    except (re.error, TypeError, ValueError) as error:
        raise PerdureError(f"{what} must be a regular expression; found {pattern!r}, {error}") from None
