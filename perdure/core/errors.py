"""The one kind of error that a user's input can cause, and how it is worded."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable
from typing import Any

# How much of a value a message quotes.
SHOWN = 120


class PerdureError(ValueError):
    """Bad input: one line that says what was expected and what was found.

    The command line prints the line and exits with status 2, without a traceback.
    """

    def __init__(self, message: object = "") -> None:
        # What others say about a file may take several lines.
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))


class UnknownName(PerdureError, KeyError):
    """A name that a table does not have: a key error too, for programs that ask for one."""

    __str__ = ValueError.__str__  # that of a key error quotes the line


def shown(value: Any) -> str:
    """Quote a value that a user gave, in one short line.

    >>> shown("x"), shown(float)
    ("'x'", 'the class float')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # nested too deeply, too many digits, or an object whose own `repr` fails
        text = f"something of the type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def said(error: Exception) -> str:
    """Return the first line of what an error says, with its kind where it is not one of ours."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return first if isinstance(error, PerdureError) else f"{type(error).__name__}: {first}"


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return the nearest names there are, whatever their case, dashes and underscores."""
    plain = {_plain(one): one for one in sorted(known)}
    return [plain[one] for one in difflib.get_close_matches(_plain(name[:SHOWN]), plain, n=3, cutoff=0.5)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.casefold())


def unknown(kind: str, name: object, known: Iterable[str], suggestions: Iterable[str] = ()) -> PerdureError:
    """Build the error for a name that is not registered, with the nearest names there are."""
    names = sorted(known)
    close = list(suggestions) or (near(name, names) if isinstance(name, str) else [])
    hint = f"did you mean {', '.join(close)}?" if close else f"expected one of {', '.join(names)}."
    return PerdureError(f"unknown {kind} {shown(name)}: {hint}")


def check_pattern(pattern: Any, what: str) -> None:
    """Refuse what is not a regular expression."""
    try:
        with warnings.catch_warnings():  # what Python's next version may read otherwise
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PerdureError(f"{what} must be a regular expression; found {shown(pattern)}, {error}") from None
