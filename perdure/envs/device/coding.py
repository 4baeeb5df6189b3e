"""Actions and observations as numbers: what policies choose from, and what they see.

Actions are numbered: click on an element, type a slot's value into the field in focus, scroll up and down,
back, home, open an app, answer an element's text or a slot's value, declare complete or infeasible, wait.

An observation is a vector in [0, 1]: the template (one of all), the app, the screen, each slot's value (its
number among all texts) and whether it is known, the share of steps left, more above, more below; then for
all elements: class and flags, their values' numbers, which slots the text equals, which slots the details
equal (:meth:`Coding.elements` makes a table of it). That relation is what makes "the field with the title
asked for" something that a policy can learn, whatever the title.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from perdure.core.errors import PerdureError, shown
from perdure.envs.device.actions import Action, check_action
from perdure.envs.device.catalogue import Catalogue, catalogue
from perdure.envs.device.declare import CAPACITY, CLASSES, ELEMENTS, VALUES
from perdure.envs.device.phone import Element, Phone
from perdure.envs.device.task import SLOTS, Task, templates
from perdure.envs.numpy_rules import Array

FLAGS = ("clickable", "editable", "checkable", "checked", "scrollable", "focused")
# An observation has these parts of all elements one after the other: looks, values, slots.
WIDTHS = (len(CLASSES) + len(FLAGS), VALUES, SLOTS, SLOTS)
FEATURES = sum(WIDTHS)
OFF, ON = 1, 2
# The number of "0"; those of larger numbers of records follow.
ZERO = 3


@dataclass(frozen=True)
class Numbered:
    """One of the numbered actions.

    Parameters
    ----------
    kind:
        click, type, scroll, back, home, open, answer_element, answer_slot, status or wait.
    element, slot:
        Which one, or -1.
    word:
        The direction, the app or the status.
    """

    kind: str
    element: int = -1
    slot: int = -1
    word: str = ""


class Coding:
    """Numbers for all that there is on a phone.

    Attributes
    ----------
    texts:
        The number of each text; the empty one, and what is not known, has 0.
    screens, apps, templates:
        Their names, in order.
    actions:
        What can be done, in order.
    size:
        How long an observation is.
    """

    def __init__(self, declared: Catalogue, tasks: dict[str, type[Task]]) -> None:
        self.catalogue = declared
        every = ["", "off", "on", *map(str, range(CAPACITY + 1)), *_texts(declared, tasks)]
        self.texts = {text: i for i, text in enumerate(dict.fromkeys(every))}
        self.screens, self.apps, self.templates = [*declared.layouts], [*declared.apps], [*tasks]
        self.screen_number = {name: i for i, name in enumerate(self.screens)}
        self.actions = [
            *(Numbered("click", element=e) for e in range(ELEMENTS)),
            *(Numbered("type", slot=k) for k in range(SLOTS)),
            *(Numbered("scroll", word=direction) for direction in ("down", "up")),
            Numbered("back"), Numbered("home"),
            *(Numbered("open", word=app) for app in self.apps),
            *(Numbered("answer_element", element=e) for e in range(ELEMENTS)),
            *(Numbered("answer_slot", slot=k) for k in range(SLOTS)),
            Numbered("status", word="complete"), Numbered("status", word="infeasible"), Numbered("wait"),
        ]  # fmt: skip
        self.longest = max((kind.budget() for kind in tasks.values()), default=1)
        self.globals = len(self.templates) + len(self.apps) + len(self.screens) + 2 * SLOTS + 3
        self.size = self.globals + ELEMENTS * FEATURES

    def elements(self, observation: Any) -> Any:
        """Return the features of the elements that an observation ``[..., size]`` has, as a table.

        Tensors or arrays, ``[..., ELEMENTS, FEATURES]``: class (one of :data:`CLASSES`), :data:`FLAGS`, the
        values' numbers, which slots the text equals, which slots the details equal.
        """
        parts, at = [], self.globals
        for width in WIDTHS:
            part = observation[..., at : at + ELEMENTS * width]
            parts.append(part.reshape(*part.shape[:-1], ELEMENTS, width))
            at += ELEMENTS * width
        join = torch.cat if isinstance(observation, torch.Tensor) else np.concatenate
        return join(parts, -1)

    def number(self, action: Action, task: Task, phone: Phone) -> int:
        """Return the number of an action, where it has one; the oracle's have.

        Raises
        ------
        PerdureError
            For text that is neither a slot's value nor shown, for what is done by point, and for text that is
            typed into a named field or behind what is there.
        """
        check_action(action)
        slots, kind = list(task.params.values()), action.action_type
        pointed = (action.index, action.x, action.y) != (None, None, None)
        if kind in ("click", "double_tap") and action.index is not None and 0 <= action.index < ELEMENTS:
            wanted = Numbered("click", element=action.index)
        elif kind == "input_text" and action.text in slots and action.clear_text and not pointed:
            wanted = Numbered("type", slot=slots.index(action.text))
        elif kind == "answer" and action.text in (texts := [one.text for one in phone.elements()]):
            wanted = Numbered("answer_element", element=texts.index(action.text))
        elif kind == "answer" and action.text in slots:
            wanted = Numbered("answer_slot", slot=slots.index(action.text))
        elif kind == "open_app":
            wanted = Numbered("open", word=self.catalogue.app(str(action.app_name)) or "")
        else:
            names = {"navigate_back": "back", "navigate_home": "home"}
            wanted = Numbered(names.get(kind, kind), word=action.direction or action.goal_status or "")
        if wanted not in self.actions:
            raise PerdureError(f"expected an action that has a number; found {shown(action)}")
        return self.actions.index(wanted)

    def action(self, number: int, task: Task, phone: Phone, known: list[bool]) -> Action:
        """Return what the action of a number is by now; what cannot be done is to wait."""
        one, slots = self.actions[number], list(task.params.values())
        elements = phone.elements()
        shown = elements[one.element].text if 0 <= one.element < len(elements) else None
        held = slots[one.slot] if 0 <= one.slot < len(slots) and known[one.slot] else None
        wait, word = Action("wait"), one.word
        made = {
            "click": lambda: Action("click", index=one.element),
            "type": lambda: wait if held is None else Action("input_text", text=held, clear_text=True),
            "scroll": lambda: Action("scroll", direction=word),
            "back": lambda: Action("navigate_back"),
            "home": lambda: Action("navigate_home"),
            "open": lambda: Action("open_app", app_name=word),
            "answer_element": lambda: wait if shown is None else Action("answer", text=shown),
            "answer_slot": lambda: wait if held is None else Action("answer", text=held),
            "status": lambda: Action("status", goal_status=word),
            "wait": lambda: wait,
        }
        return made[one.kind]()

    def observe(self, task: Task, phone: Phone, known: list[bool], left: int) -> Array:
        """Return what a policy sees, ``[size]`` float32."""
        slots = list(task.params.values())
        told = [
            self.texts.get(slot, 0) / len(self.texts) if known[k] else 0.0 for k, slot in enumerate(slots)
        ]
        able = [float(one) for one in known[: len(slots)]]
        rest = [0.0] * (SLOTS - len(slots))
        elements = phone.elements()
        head = [
            *_one_of(self.templates, task.name()), *_one_of(self.apps, phone.layout.app),
            *_one_of(self.screens, phone.screen), *told, *rest, *able, *rest, left / self.longest,
            float(phone.can_scroll("up")), float(phone.can_scroll("down")),
        ]  # fmt: skip
        table = np.zeros((ELEMENTS, FEATURES), dtype=np.float32)
        for i, element in enumerate(elements):
            table[i] = self._features(element, slots, known)
        parts = [part.ravel() for part in np.split(table, np.cumsum(WIDTHS)[:-1], axis=1)]
        return np.concatenate([np.array(head, dtype=np.float32), *parts])

    def _features(self, element: Element, slots: list[str], known: list[bool]) -> list[float]:
        values = (element.text, *element.details, "", "")[:VALUES]
        equal = [[known[k] and slot == value for k, slot in enumerate(slots)] for value in values]
        text, details = equal[0], [a or b for a, b in zip(*equal[1:], strict=True)]
        rest = [0.0] * (SLOTS - len(slots))
        numbers = [self.texts.get(value, 0) / len(self.texts) for value in values]
        flags = [float(getattr(element, flag)) for flag in FLAGS]
        return [
            *_one_of(CLASSES, element.class_name),
            *flags,
            *numbers,
            *map(float, text),
            *rest,
            *map(float, details),
            *rest,
        ]


def seen(task: Task, phone: Phone, known: list[bool]) -> list[bool]:
    """Return which slots are known once the screen has been looked at: told, or shown by then and of use."""
    shown, usable = {text for one in phone.elements() for text in (one.text, *one.details)}, task.usable()
    return [
        before or (name in usable and slot in shown)
        for before, (name, slot) in zip(known, task.params.items(), strict=True)
    ]


def _texts(declared: Catalogue, tasks: dict[str, type[Task]]) -> Iterator[str]:
    """Give all texts that a phone may show and tasks may be about."""
    for record in declared.records.values():
        for field in record.fields.values():
            yield from map(field.show, (*field.values, field.default))
    for layout in declared.layouts.values():
        for item in layout.items:
            yield from (str(one) for one in (item.text, *item.details) if isinstance(one, str))
            for effect in (item.click, item.hold):
                puts = effect.puts if effect else ()
                yield from (source for target, source in puts if isinstance(source, str))
    for kind in tasks.values():
        for slot in kind.schema.values():
            yield from slot.texts(declared)


def _one_of(names: list[str] | tuple[str, ...], name: str) -> list[float]:
    return [float(one == name) for one in names]


@lru_cache(maxsize=1)
def coding() -> Coding:
    """Return the numbers of the phone with all apps and templates."""
    return Coding(catalogue(), templates())
