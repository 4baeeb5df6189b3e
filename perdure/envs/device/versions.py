"""Screens that were not seen: versions of the same apps, after an update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random

from perdure.envs.device.catalogue import Catalogue, catalogue
from perdure.envs.device.declare import ELEMENTS, PAGE, Item, Layout, go

# What a version may put beside the elements that stay, on any screen.
SHORTCUT = Item("Button", "Apps", click=go("apps"))


@lru_cache(maxsize=16)
def versioned(number: int) -> Catalogue:
    """Return the phone's declarations in a version: 0 is the usual one.

    In each other version every screen has an order of its own, of the elements that stay and of those of its
    contents (each keeps the page that it is on, so that there is as much to scroll), and half of the screens
    have a new element among those that stay, a button that leads to the list of apps. What elements say and
    do is the same, and so are records, templates and goals; rows stay in the order of their records.

    >>> names = [item.text for item in versioned(0).layouts["settings/main"].content[:3]]
    >>> [item.text for item in versioned(1).layouts["settings/main"].content[:3]] == names
    False
    """
    usual = catalogue()
    if number == 0:
        return usual
    return usual.with_layouts(_changed(layout, Random(f"version {number} {layout.name}"))
                              for layout in usual.layouts.values())  # fmt: skip


def _changed(layout: Layout, rng: Random) -> Layout:
    """Return a screen in another order, and perhaps with the shortcut."""
    added = rng.random() < 0.5 and layout.kind != "home" and len(layout.pinned) < ELEMENTS - PAGE
    pinned = _shuffled([*layout.pinned, *([SHORTCUT] if added else [])], rng)
    pages = [layout.content[at : at + PAGE] for at in range(0, len(layout.content), PAGE)]
    content = [item for page in pages for item in _shuffled(page, rng)]
    return replace(layout, pinned=tuple(pinned), content=tuple(content))


def _shuffled(items: Sequence[Item], rng: Random) -> list[Item]:
    return rng.sample(items, len(items))
