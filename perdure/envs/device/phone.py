"""A phone that people can read: typed records, and screens as lists of elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.device.actions import Action, check_action
from perdure.envs.device.catalogue import Catalogue, catalogue
from perdure.envs.device.declare import PAGE, Count, Effect, Flip, Item, Layout, Of, One, Record, Source
from perdure.envs.device.fields import Value

# Pixels: the screen, where what stays ends, and how high an element of the contents is.
SIZE, TOP, HEIGHT = (1080, 2400), 260, 240
TURNED = {"up": "down", "down": "up", "left": "right", "right": "left"}
Contents = dict[str, list[dict[str, Value] | None]]


@dataclass(frozen=True)
class Element:
    """What a screen shows in one place.

    Parameters
    ----------
    index:
        Its place in the list of elements, by which actions name it.
    text, details:
        What it shows; what its description says, at most two texts.
    class_name:
        Of :data:`perdure.envs.device.declare.CLASSES`.
    box:
        Left, top, right and bottom in pixels.
    clickable, long_clickable, editable, checkable, checked, scrollable, focused:
        What can be done with it, and how it stands.
    """

    index: int
    text: str
    details: tuple[str, ...]
    class_name: str
    box: tuple[int, int, int, int]
    clickable: bool = False
    long_clickable: bool = False
    editable: bool = False
    checkable: bool = False
    checked: bool = False
    scrollable: bool = False
    focused: bool = False

    @property
    def description(self) -> str:
        """The details as one text."""
        return ", ".join(self.details)


class Phone:
    """A phone: what its apps hold, which screen it shows, and what actions make of both.

    Parameters
    ----------
    declared:
        The declarations; by default those of all apps.

    Attributes
    ----------
    contents:
        Places for records of each type, a dictionary of typed values or nothing in each.
    screen, scroll:
        The name of the screen, and how many of its contents are above what is seen.
    open:
        The place of the open record.
    draft:
        What a form has been filled in with.
    focus:
        The field that typing goes to.
    status, answers:
        What the agent has declared, and answered so far.

    Examples
    --------
    >>> phone = Phone()
    >>> phone.do(Action("open_app", app_name="Settings"))
    >>> phone.screen
    'settings/main'
    """

    def __init__(self, declared: Catalogue | None = None) -> None:
        self.catalogue = catalogue() if declared is None else declared
        if not isinstance(self.catalogue, Catalogue):
            raise PerdureError(f"declared must be a Catalogue; found {shown(declared)}")
        self.reset()

    def reset(self) -> None:
        """Make the phone as it comes from the factory."""
        self.contents: Contents = {
            name: [kind.defaults() if isinstance(kind, One) else None] + [None] * (kind.capacity - 1)
            for name, kind in self.catalogue.records.items()
        }
        self.status: str | None = None
        self.answers: list[str] = []
        self.draft: dict[str, Value] = {}
        self.open: int | None = None
        self.screen, self.scroll = "home", 0
        self.focus: Of | None = None

    # ---- what there is --------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The declaration of the screen."""
        return self.catalogue.layouts[self.screen]

    def records(self, name: str) -> list[dict[str, Value]]:
        """Return the records of a type, such as ``"calendar.event"``."""
        self._kind(name)
        return [dict(one) for one in self.contents[name] if one is not None]

    def one(self, name: str) -> dict[str, Value]:
        """Return the record that there is exactly one of, such as ``"settings.display"``."""
        if not isinstance(self._kind(name), One):
            raise PerdureError(f"expected a type that there is one record of; found {name!r}")
        return self.records(name)[0]

    def add(self, name: str, values: Mapping[str, Value]) -> None:
        """Put a record in the first free place, or change some fields of the one that there is."""
        kind = self._kind(name)
        for key, value in values.items():
            if key not in kind.fields:
                raise unknown(f"field of {name}", key, kind.fields)
            if not kind.fields[key].takes(value):
                raise PerdureError(f"{name}.{key} does not take {shown(value)}")
        rows = self.contents[name]
        if isinstance(kind, One):
            rows[0] = {**(rows[0] or {}), **values}
        elif None not in rows:
            raise PerdureError(f"{name} holds at most {kind.capacity} records; found one more")
        else:
            rows[rows.index(None)] = {**kind.defaults(), **values}

    def _kind(self, name: str) -> Record:
        """Return the declaration of a type of records."""
        if not isinstance(name, str) or name not in self.catalogue.records:
            raise unknown("type of records", name, self.catalogue.records)
        return self.catalogue.records[name]

    def kept(self) -> dict[str, list[Any]]:
        """Return what tasks are about: the values of each type's records, in an order that says nothing."""
        return kept(self.catalogue, self.contents)

    # ---- what is seen ---------------------------------------------------------------------------------

    def elements(self) -> list[Element]:
        """Return what the screen shows."""
        placed, layout = self.placed(), self.layout
        stay, scrolls = len(layout.pinned), len(self._entries()) > PAGE
        return [self._element(i, item, row, stay, scrolls) for i, (item, row) in enumerate(placed)]

    def placed(self) -> list[tuple[Item, int | None]]:
        """Return the declarations of the elements, each with the place of its record."""
        part = self._entries()[self.scroll : self.scroll + PAGE]
        return [*((item, self.open) for item in self.layout.pinned), *part]

    def can_scroll(self, direction: str) -> bool:
        """Tell whether there is more ``"up"`` or ``"down"``."""
        return self.scroll > 0 if direction == "up" else self.scroll + PAGE < len(self._entries())

    def _entries(self) -> list[tuple[Item, int | None]]:
        """Return all contents, each with the place of its record."""
        layout = self.layout
        if layout.rows is None:
            return [(item, self.open) for item in layout.content]
        every = enumerate(self.contents[layout.rows.record])
        return [(layout.rows.item, i) for i, one in every if one is not None and self._is_listed(one)]

    def _is_listed(self, record: dict[str, Value]) -> bool:
        where = self.layout.rows.where if self.layout.rows else None
        if where is None:
            return True
        wanted = self._value(where[1], None)
        return wanted == "" or record[where[0]] == wanted

    def _element(self, index: int, item: Item, row: int | None, stay: int, scrolls: bool) -> Element:
        bound = item.bound
        return Element(
            index, self._text(item.text, row), tuple(self._text(one, row) for one in item.details), item.kind,
            _box(index, stay), clickable=item.click is not None or item.kind == "EditText",
            long_clickable=item.hold is not None, editable=item.kind == "EditText",
            checkable=item.kind == "Switch",
            checked=item.kind == "Switch" and bound is not None and self._value(bound, row) is True,
            scrollable=scrolls and index >= stay, focused=bound is not None and bound == self.focus,
        )  # fmt: skip

    def _text(self, source: Source, row: int | None) -> str:
        if isinstance(source, Count):
            return str(len(self._entries()))
        if not isinstance(source, Of):
            return str(source)
        value = self._value(source, row)
        return "" if value is None else self.catalogue.field(source, self.layout).show(value)

    def _value(self, source: Source, row: int | None) -> Value | None:
        if isinstance(source, Count):
            return len(self._entries())
        if not isinstance(source, Of):
            return source
        if source.place == "draft":
            return self.draft.get(source.name)
        place = {"row": row, "record": self.open}.get(source.place, 0)
        record = None if place is None else self.contents[self.catalogue.type_of(source, self.layout)][place]
        return None if record is None else record[source.name]

    # ---- what actions do ------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Carry out an action; nothing happens where it points at nothing, nor after the status."""
        check_action(action)
        if self.status is None:
            getattr(self, f"_{action.action_type}")(action)

    def _click(self, action: Action) -> None:
        item, row = self._pointed(action)
        if item is not None and item.kind == "EditText":
            self.focus = item.bound
        elif item is not None and item.click is not None:
            self._apply(item.click, row)

    _double_tap = _click

    def _long_press(self, action: Action) -> None:
        item, row = self._pointed(action)
        if item is not None and item.hold is not None:
            self._apply(item.hold, row)

    def _scroll(self, action: Action) -> None:
        direction = str(action.direction)
        if direction in ("up", "down") and self.can_scroll(direction):
            self.scroll += PAGE if direction == "down" else -PAGE

    def _swipe(self, action: Action) -> None:
        self._scroll(Action("scroll", direction=TURNED[str(action.direction)]))

    def _input_text(self, action: Action) -> None:
        if action.index is not None or action.x is not None:
            item, _ = self._pointed(action)
            if item is None or item.kind != "EditText":
                return
            self.focus = item.bound
        if self.focus is None:
            return
        before = "" if action.clear_text else self._text(self.focus, self.open)
        value = self.catalogue.field(self.focus, self.layout).read(before + str(action.text))
        if value is not None:
            self._apply(Effect(puts=((self.focus, value),)), self.open)

    def _navigate_home(self, action: Action) -> None:
        self._go("home")

    def _navigate_back(self, action: Action) -> None:
        self._go(self.layout.up)

    def _keyboard_enter(self, action: Action) -> None:
        self.focus = None

    def _open_app(self, action: Action) -> None:
        app = self.catalogue.app(str(action.app_name))
        if app is not None:
            self._go(self.catalogue.main(app))

    def _answer(self, action: Action) -> None:
        self.answers += [part.strip() for part in str(action.text).split(",") if part.strip()]

    def _status(self, action: Action) -> None:
        self.status = action.goal_status

    def _wait(self, action: Action) -> None:
        """Let a step pass."""

    def _pointed(self, action: Action) -> tuple[Item | None, int | None]:
        """Return the declaration of the element that is meant, and the place of its record."""
        placed = self.placed()
        index = action.index
        if index is None and action.x is not None and action.y is not None:
            x, y, stay = action.x, action.y, len(self.layout.pinned)
            boxes = [_box(i, stay) for i in range(len(placed))]
            hit = [i for i, (a, b, c, d) in enumerate(boxes) if a <= x < c and b <= y < d]
            index = hit[0] if hit else None
        return placed[index] if index is not None and 0 <= index < len(placed) else (None, None)

    def _apply(self, effect: Effect, row: int | None) -> None:
        """Write all that an effect says, then go where it leads; where no record can be added, only go."""
        values = [(target, self._result(target, source, row)) for target, source in effect.puts]
        adding = effect.adds or (self.layout.record if effect.opens == "saved" and self.open is None else "")
        saved = self.open
        if adding and None not in self.contents[adding]:
            values = []
        elif adding:
            saved = self.contents[adding].index(None)
            self.contents[adding][saved] = self.catalogue.records[adding].defaults()
        for target, value in values:
            if target.place == "draft":
                self.draft[target.name] = value
                continue
            kind = self.catalogue.type_of(target, self.layout, effect.adds)
            place = {"row": row, "record": saved if adding else self.open, "new": saved}.get(target.place, 0)
            if place is not None and (record := self.contents[kind][place]) is not None:
                self.contents[kind][place] = {**record, target.name: value}
        if effect.deletes and self.open is not None:
            self.contents[self.layout.record][self.open] = None
        self.open = {"row": row, "none": None, "saved": saved}.get(effect.opens, self.open)
        if effect.go:
            self._go(effect.go)
        elif self.scroll and self.scroll >= len(self._entries()):
            self.scroll = 0

    def _result(self, target: Of, source: Source | Flip, row: int | None) -> Value:
        value = self._value(target, row) is not True if isinstance(source, Flip) else self._value(source, row)
        return "" if value is None else value

    def _go(self, screen: str) -> None:
        self.screen, self.scroll, self.focus = screen, 0, None


def kept(declared: Catalogue, contents: Contents) -> dict[str, list[Any]]:
    """Return the values of each type's records that tasks are about, sorted."""
    return {
        name: sorted((tuple(one.values()) for one in contents[name] if one is not None), key=repr)
        for name in declared.kept
    }


def _box(index: int, stay: int) -> tuple[int, int, int, int]:
    """Return where an element is: what stays side by side above, contents below each other."""
    width = SIZE[0]
    if index < stay:
        return index * width // stay, 0, (index + 1) * width // stay, TOP
    return 0, TOP + (index - stay) * HEIGHT, width, TOP + (index - stay + 1) * HEIGHT
