"""What can be done with a phone: AndroidWorld's actions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from perdure.core.errors import PerdureError, shown, unknown

TYPES = (
    "click", "double_tap", "long_press", "scroll", "swipe", "input_text", "navigate_home", "navigate_back",
    "keyboard_enter", "open_app", "answer", "status", "wait",
)  # fmt: skip
DIRECTIONS = ("up", "down", "left", "right")
STATUSES = ("complete", "infeasible")
# What a type cannot do without.
NEEDED = {
    "scroll": ("direction",), "swipe": ("direction",), "input_text": ("text",), "open_app": ("app_name",),
    "answer": ("text",), "status": ("goal_status",),
}  # fmt: skip
POINTED = ("click", "double_tap", "long_press")


@dataclass(frozen=True)
class Action:
    """One action; what its type has no use for stays at its default.

    Parameters
    ----------
    action_type:
        One of :data:`TYPES`.
    index:
        The element that is meant, by its place in the list of elements.
    x, y:
        Or the point of the screen, in pixels.
    text:
        What is typed or answered.
    direction:
        Where ``scroll`` looks next, or where the finger of ``swipe`` goes: up, down, left or right.
    app_name:
        What ``open_app`` opens.
    goal_status:
        What ``status`` declares: complete or infeasible.
    clear_text:
        Whether ``input_text`` replaces what is there; otherwise it is typed behind it.

    Raises
    ------
    PerdureError
        For an unknown type, and for one that lacks what it needs. Pointing at what is not there is no error:
        nothing happens, and a step has passed.

    Examples
    --------
    >>> Action("click", index=3)
    Action('click', index=3)
    """

    action_type: str
    index: int | None = None
    x: int | None = None
    y: int | None = None
    text: str | None = None
    direction: str | None = None
    app_name: str | None = None
    goal_status: str | None = None
    clear_text: bool = False

    def __post_init__(self) -> None:
        if self.action_type not in TYPES:
            raise unknown("action", str(self.action_type), TYPES)
        for name in ("text", "app_name"):
            if not isinstance(getattr(self, name), str | None):
                raise PerdureError(f"{name} must be a text; found {shown(getattr(self, name))}")
        if type(self.clear_text) is not bool:
            raise PerdureError(f"clear_text must be True or False; found {shown(self.clear_text)}")
        for name in NEEDED.get(self.action_type, ()):
            if not isinstance(getattr(self, name), str):
                raise PerdureError(f"{self.action_type} needs {name}; found {self}")
        if self.action_type in POINTED and self.index is None and None in (self.x, self.y):
            raise PerdureError(f"{self.action_type} needs index, or x and y; found {self}")
        for name in ("index", "x", "y"):
            if type(getattr(self, name)) not in (int, type(None)):
                raise PerdureError(f"{name} must be a whole number; found {shown(getattr(self, name))}")
        for name, words in (("direction", DIRECTIONS), ("goal_status", STATUSES)):
            if getattr(self, name) not in (None, *words):
                found = shown(getattr(self, name))
                raise PerdureError(f"{name} must be one of {', '.join(words)}; found {found}")

    def __repr__(self) -> str:
        """Return the call that makes this action, without what is at its default."""
        told = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)[1:] if self._is_told(f)]
        return f"Action({', '.join([repr(self.action_type), *told])})"

    def _is_told(self, field: Any) -> bool:
        return getattr(self, field.name) is not field.default


def check_action(action: object) -> None:
    """Refuse what is no action."""
    if not isinstance(action, Action):
        raise PerdureError(f"expected an Action; found {shown(action)}")
