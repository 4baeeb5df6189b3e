"""Screens as text, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from perdure.envs.device.actions import Action
from perdure.envs.device.episode import Episode
from perdure.envs.device.phone import Element


class Shows(Protocol):
    """A phone that shows something."""

    @property
    def screen(self) -> str:
        """What the screen is called."""

    def elements(self) -> list[Element]:
        """Return what the screen shows."""

    def can_scroll(self, direction: str) -> bool:
        """Tell whether there is more ``"up"`` or ``"down"``."""


def render(phone: Shows) -> str:
    """Return the screen as text: its name, then a line for each element.

    A line has the element's index, its text, its description in brackets, its class, and its flags.
    """
    lines = [phone.screen, *map(_line, phone.elements())]
    more = [direction for direction in ("up", "down") if phone.can_scroll(direction)]
    return "\n".join([*lines, *([f"     ... more {' and '.join(more)}"] if more else [])])


def played(episode: Episode, actions: Iterable[Action | int]) -> str:
    """Carry out actions until the episode is over; return all screens and actions as text."""
    parts = [episode.task.goal, render(episode.phone)]
    for action in actions:
        episode.step(action)
        parts += [f"> {action}", render(episode.phone)]
        if episode.over:
            break
    return "\n\n".join([*parts, f"reward {episode.reward:g}, {episode.left} steps left"])


def _line(element: Element) -> str:
    text = element.text or "(empty)"
    about = f" [{element.description}]" if element.details else ""
    flags = [name for name in ("focused", "long_clickable") if getattr(element, name)]
    flags += [("on" if element.checked else "off")] if element.checkable else []
    tail = f" {element.class_name}" if element.clickable else ""
    return f"{element.index:>4} {text}{about}{tail}{''.join(f' *{flag}*' for flag in flags)}"
