"""Names as figures show them: plain text, short enough for their place, with a key to the full ones."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

LINE = 34  # characters of a legend's line
LINES = 3


class Labels(NamedTuple):
    """Names as they are shown, and what to read about those that were cut."""

    shown: list[str]
    key: list[str]


def shorten(names: Sequence[str], room: int) -> Labels:
    """Cut names longer than ``room`` characters; a number tells them apart and leads to the key.

    >>> shorten(["cat, dog", "airplane, automobile, bird, deer"], 20)
    Labels(shown=['cat, dog', '2 airplane, automob…'], key=['2  airplane, automobile, bird, deer'])
    """
    plain = [tidy(name) for name in names]
    shown, key = [], []
    for number, name in enumerate(plain, start=1):
        if len(name) <= room:
            shown.append(name)
            continue
        shown.append(cut(f"{number} {name}", room))
        key.append(f"{number}  {name}")
    return Labels(shown, key)


def tidy(name: str) -> str:
    """Put a name on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "(no name)"


def cut(name: str, room: int) -> str:
    """Return the first ``room`` characters of a name; the last of them says that more followed."""
    return name if len(name) <= room else name[: room - 1].rstrip() + "…"


def folded(name: str, width: int = LINE, lines: int = LINES) -> str:
    """Break a name into a few lines."""
    rows = textwrap.wrap(tidy(name), width, break_on_hyphens=False)
    return "\n".join(
        [*rows[: lines - 1], cut(" ".join(rows[lines - 1 :]), width)] if len(rows) > lines else rows
    )
