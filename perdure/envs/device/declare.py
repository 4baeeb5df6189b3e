"""What a phone is declared with: records, elements of screens, and what a click does.

Screens of all kinds come down to :class:`Layout`: elements that are always there, a stretch of contents that
scrolls (elements, or a row for each record), and for each element the effect of a click. Both interpreters,
the readable one and the one over tensors, read nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from perdure.core.errors import PerdureError, shown
from perdure.envs.device.fields import Field, Value

# Sizes that every phone has: content elements at once, elements at once, values that an element shows.
PAGE, ELEMENTS, VALUES = 8, 16, 3
# Fields of a record, its presence among them, and records of a type.
WIDTH, CAPACITY = 11, 12
CLASSES = ("TextView", "Button", "Switch", "Spinner", "EditText", "ListItem", "ImageView")


# ---- records ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A type of records, of which an app holds a list.

    Parameters
    ----------
    name:
        What it is called: ``"event"``; outside its app ``"calendar.event"``.
    fields:
        At most ten; the first, a text, is what rows of a list are known by.
    capacity:
        How many there can be at most.
    noise:
        How many a phone holds besides those that a task is about, at least and at most.
    """

    name: str
    fields: Mapping[str, Field]
    capacity: int = CAPACITY
    noise: tuple[int, int] = (2, 5)

    def __post_init__(self) -> None:
        if not 1 <= len(self.fields) < WIDTH:
            raise PerdureError(f"{self.name} must have 1 to {WIDTH - 1} fields; found {len(self.fields)}")
        if not 1 <= self.capacity <= CAPACITY:
            raise PerdureError(f"{self.name}: capacity must be 1 to {CAPACITY}; found {self.capacity}")
        if not 0 <= self.noise[0] <= self.noise[1] <= self.capacity:
            raise PerdureError(f"{self.name}: noise must be least and most; found {shown(self.noise)}")

    def label(self, name: str) -> str:
        """Return what screens call a field."""
        return self.fields[name].label or name.replace("_", " ").capitalize()

    def defaults(self) -> dict[str, Value]:
        """Return what a new record holds."""
        return {name: field.default for name, field in self.fields.items()}


@dataclass(frozen=True)
class One(Record):
    """A record that there is exactly one of: a page of settings, or what an app is looking at.

    Parameters
    ----------
    view:
        Whether it only says what is looked at, such as the text of a search: no task is about it.
    """

    capacity: int = 1
    noise: tuple[int, int] = (0, 0)
    view: bool = False


# ---- elements -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Of:
    """A field somewhere: ``Of("record", "title")``.

    Parameters
    ----------
    place:
        ``"row"``, the record of the row that is clicked or shown; ``"record"``, the one that is open;
        ``"draft"``, the form's copy; ``"new"``, one that the effect adds; or the name of a :class:`One`.
    name:
        The field.
    """

    place: str
    name: str


@dataclass(frozen=True)
class Count:
    """How many rows the screen has, above and below what is seen too."""


# What an element shows, or an effect writes: a field's value, the number of rows, or always the same.
Source = Of | Count | Value


@dataclass(frozen=True)
class Flip:
    """The other value of a field that is on or off."""


@dataclass(frozen=True)
class Effect:
    """What a click does: fields are written, all at once, and another screen is opened.

    Parameters
    ----------
    go:
        The screen; none: it stays.
    puts:
        What is written where, of one record besides the draft and what is only looked at.
    opens:
        Which record is open from then on: ``"row"``, ``"none"``, ``"saved"`` (the one that is written to,
        which is added where none is open), or none of these: it stays.
    adds:
        The type of a ``"new"`` record.
    deletes:
        Whether the open record is deleted.
    """

    go: str = ""
    puts: tuple[tuple[Of, Source | Flip], ...] = ()
    opens: str = ""
    adds: str = ""
    deletes: bool = False


@dataclass(frozen=True)
class Item:
    """An element of a screen.

    Parameters
    ----------
    kind:
        One of :data:`CLASSES`.
    text:
        What it shows.
    details:
        What its description says: up to two more.
    click, hold:
        What a click, and a long press, does.
    bound:
        The field that a switch shows and an ``EditText`` changes.
    """

    kind: str
    text: Source
    details: tuple[Source, ...] = ()
    click: Effect | None = None
    hold: Effect | None = None
    bound: Of | None = None


@dataclass(frozen=True)
class Rows:
    """A row for each record of a type, in the order of their places.

    Parameters
    ----------
    item:
        The row, in which ``Of("row", ...)`` is the record.
    where:
        A field, and what it must equal for a record to be shown; empty text shows all.
    """

    record: str
    item: Item
    where: tuple[str, Source] | None = None


@dataclass(frozen=True)
class Layout:
    """A screen as both interpreters have it.

    Parameters
    ----------
    name:
        ``"calendar/event.list"``.
    kind:
        What kind it is of: home, list, detail, form, page, search, confirm, info, picker.
    title:
        What it is called.
    up:
        Where going back leads.
    pinned:
        Elements that are always there.
    content:
        Elements that scroll; or ``rows`` do.
    record:
        The type of the open record, where there is one.
    """

    name: str
    kind: str
    title: str
    up: str
    pinned: tuple[Item, ...]
    content: tuple[Item, ...] = ()
    rows: Rows | None = None
    record: str = ""

    @property
    def app(self) -> str:
        """The app that it belongs to; none for the home screen and the list of apps."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def items(self) -> tuple[Item, ...]:
        """All elements there can be."""
        return (*self.pinned, *self.content, *([self.rows.item] if self.rows else []))

    @property
    def makes(self) -> str:
        """The type of the records that a click can add here."""
        effects = [effect for item in self.items for effect in (item.click, item.hold) if effect]
        added = {effect.adds for effect in effects if effect.adds}
        saves = any(target.place == "record" for effect in effects for target, _ in effect.puts)
        return next(iter(added), self.record if saves else "")

    def check(self) -> None:
        """Refuse what the tables cannot hold."""
        if len(self.pinned) + PAGE > ELEMENTS:
            raise PerdureError(f"{self.name} must have at most {ELEMENTS - PAGE} elements that stay; "
                               f"found {len(self.pinned)}")  # fmt: skip
        effects = [item.click for item in self.items if item.click]
        made = {effect.adds for effect in effects if effect.adds}
        if len(made) > 1 or (made and self.rows):
            raise PerdureError(f"{self.name} must add records of one type, and show no rows; found {made}")


# ---- effects that apps use ----------------------------------------------------------------------------


def go(screen: str) -> Effect:
    """Open another screen."""
    return Effect(go=screen)


def put(to: str = "", **values: Value) -> Effect:
    """Write fields of the open record."""
    return Effect(go=to, puts=tuple((Of("record", name), value) for name, value in values.items()))


def set_one(one: str, to: str = "", **values: Source) -> Effect:
    """Write fields of a :class:`One`."""
    return Effect(go=to, puts=tuple((Of(one, name), value) for name, value in values.items()))


def add(record: str, to: str = "", **values: Source) -> Effect:
    """Add a record at once, without a form; fields that are not given have their defaults."""
    return Effect(go=to, puts=tuple((Of("new", name), value) for name, value in values.items()), adds=record)


class Screen(ABC):
    """A screen of an app, of one of the kinds in :mod:`perdure.envs.device.screens`."""

    name: str

    @abstractmethod
    def layouts(self, app: App) -> list[Layout]:
        """Return the screen, and those that belong to it."""


@dataclass(frozen=True)
class App:
    """An app: records, screens, the first of which is where it opens.

    Parameters
    ----------
    name:
        ``"calendar"``: the name of its file.
    title:
        What its icon says.
    records:
        Types of records.
    screens:
        Of the kinds of :mod:`perdure.envs.device.screens`.
    """

    name: str
    title: str
    records: tuple[Record, ...]
    screens: tuple[Screen, ...]

    def __post_init__(self) -> None:
        wrong = [screen for screen in self.screens if not isinstance(screen, Screen)]
        if wrong or not self.screens:
            raise PerdureError(f"{self.name} must have screens; found {shown(wrong[0]) if wrong else 'none'}")

    @property
    def main(self) -> str:
        """The screen that it opens with."""
        return f"{self.name}/{self.screens[0].name}"
