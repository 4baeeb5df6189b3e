"""What a task asks for: records added, changed, removed, settings set, questions answered.

Each goal says what the phone holds once it is reached, and how to get there: steps that the oracle takes
(:mod:`perdure.envs.device.oracle`). Values with ``{slots}`` are filled with the task's parameters.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.device.declare import Of, One, Record
from perdure.envs.device.fields import Value

if TYPE_CHECKING:
    from perdure.envs.device.actions import Action
    from perdure.envs.device.catalogue import Catalogue
    from perdure.envs.device.oracle import Oracle
    from perdure.envs.device.phone import Contents


def filled(kind: Record, values: Mapping[str, Value], params: Mapping[str, str]) -> dict[str, Value]:
    """Return a record's values: texts with their slots filled in, and as the fields have them."""
    found: dict[str, Value] = {}
    for name, value in values.items():
        if name not in kind.fields:
            raise unknown(f"field of {kind.name}", name, kind.fields)
        field = kind.fields[name]
        read = field.read(value.format(**params)) if isinstance(value, str) else value
        if read is None or not field.takes(read):
            raise PerdureError(f"{kind.name}.{name} does not take {shown(value)} with {shown(dict(params))}")
        found[name] = read
    return found


def slots_in(text: Value) -> list[str]:
    """Return the names of the slots that a text has: ``"{title} of {date}"`` has title and date."""
    return [name for _, name, _, _ in string.Formatter().parse(text) if name] if isinstance(text, str) else []


def matching(contents: Contents, record: str, where: Mapping[str, Value]) -> list[int]:
    """Return the places of the records that have some values."""
    rows = enumerate(contents[record])
    return [i for i, one in rows if one is not None and where.items() <= one.items()]


class Goal(ABC):
    """Something to be done.

    Parameters
    ----------
    record:
        The type of records that it is about, such as ``"calendar.event"``.
    values:
        Values of fields; texts may have ``{slots}``.
    """

    def __init__(self, record: str, /, **values: Value) -> None:
        self.record, self.values = record, values

    # Whether `values` are what is written, or what the records that are meant have.
    writes = False

    def written(self) -> dict[str, list[str]]:
        """Return the slots whose values are written, by field."""
        return {field: slots_in(value) for field, value in self.values.items()} if self.writes else {}

    @abstractmethod
    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        """Change contents to what they must be; return what must be answered."""

    @abstractmethod
    def steps(self, oracle: Oracle) -> Iterator[Action]:
        """Give the actions that get there."""

    def filled(
        self, declared: Catalogue, params: Mapping[str, str], values: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Return values with slots filled in, by default the goal's."""
        if self.record not in declared.records:
            raise unknown("type of records", self.record, declared.records)
        return filled(declared.records[self.record], self.values if values is None else values, params)

    def found(self, contents: Contents, where: Mapping[str, Value]) -> list[int]:
        """Return the places of the records that are meant: at least one."""
        places = matching(contents, self.record, where)
        if not places:
            raise PerdureError(f"expected a record of {self.record} with {shown(dict(where))}; found none")
        return places


class Add(Goal):
    """A record is there that was not: ``Add("calendar.event", title="{title}")``; other fields: defaults.

    ``Add("calendar.event", "calendar/day", ...)`` names the screen whose button "Add" the oracle takes, where
    the form that it opens is filled in partly.
    """

    writes = True

    def __init__(self, record: str, screen: str = "", /, **values: Value) -> None:
        super().__init__(record, **values)
        self.screen = screen

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        new = self.filled(declared, params)
        rows = contents[self.record]
        if None not in rows:
            raise PerdureError(f"{self.record} must have a free place; found {len(rows)} records")
        rows[rows.index(None)] = {**declared.records[self.record].defaults(), **new}
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        yield from oracle.add(self.record, self.filled(oracle.catalogue, oracle.params), self.screen)


class Change(Goal):
    """Records with some values have others: ``Change("calendar.event", {"title": "Gym"}, time="{time}")``."""

    writes = True

    def __init__(self, record: str, where: Mapping[str, Value], /, **values: Value) -> None:
        super().__init__(record, **values)
        self.where = where

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        new = self.filled(declared, params)
        for place in self.found(contents, self.filled(declared, params, self.where)):
            contents[self.record][place] = {**(contents[self.record][place] or {}), **new}
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        new = self.filled(oracle.catalogue, oracle.params)
        where = self.filled(oracle.catalogue, oracle.params, self.where)
        for place in matching(oracle.phone.contents, self.record, where):
            yield from oracle.change(self.record, place, new)


class Remove(Goal):
    """Records with some values are gone: ``Remove("calendar.event", date="{date}")``, all of them."""

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        for place in self.found(contents, self.filled(declared, params)):
            contents[self.record][place] = None
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        for place in matching(
            oracle.phone.contents, self.record, self.filled(oracle.catalogue, oracle.params)
        ):
            yield from oracle.remove(self.record, place)


class RemoveCopies(Remove):
    """Of the records with some values one is left, whichever it is: they must be the same in all fields."""

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        where = self.filled(declared, params)
        first, *copies = self.found(contents, where)
        if not copies or any(
            contents[self.record][place] != contents[self.record][first] for place in copies
        ):
            raise PerdureError(f"expected several equal records of {self.record} with {shown(where)}; "
                               f"found {len(copies) + 1} that are not")  # fmt: skip
        for place in copies:
            contents[self.record][place] = None
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        # The oracle tells rows by what they show: any of those that are the same.
        where = self.filled(oracle.catalogue, oracle.params)
        for place in matching(oracle.phone.contents, self.record, where)[1:]:
            yield from oracle.remove(self.record, place)


class Set(Goal):
    """Settings are as told: ``Set("settings.network", wifi=True)``."""

    writes = True

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        new = self.filled(declared, params)
        contents[self.record][0] = {**(contents[self.record][0] or {}), **new}
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        for name, value in self.filled(oracle.catalogue, oracle.params).items():
            yield from oracle.put(Of(self.record, name), value)


class Read(Goal):
    """A record with some values is looked at; nothing is asked, but what it says is needed later."""

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        self.found(contents, self.filled(declared, params))
        return []

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        where = self.filled(oracle.catalogue, oracle.params)
        for place in matching(oracle.phone.contents, self.record, where):
            yield from oracle.read(self.record, place)


class Answer(Goal):
    """A field of all that match is answered: ``Answer("calendar.event", "time", title="{title}")``."""

    def __init__(self, record: str, field: str, /, **where: Value) -> None:
        super().__init__(record, **where)
        self.field = field

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        where = self.filled(declared, params)
        kind = declared.records[self.record]
        if self.field not in kind.fields:
            raise unknown(f"field of {self.record}", self.field, kind.fields)
        found: list[Any] = [contents[self.record][place] for place in self.found(contents, where)]
        return [kind.fields[self.field].show(one[self.field]) for one in found]

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        where = self.filled(oracle.catalogue, oracle.params)
        for place in matching(oracle.phone.contents, self.record, where):
            one = isinstance(oracle.catalogue.records[self.record], One)
            yield from oracle.answer(self.record, None if one else place, self.field)


class Number(Goal):
    """How many records have a value is answered: ``Number("calendar.event", date="{date}")``, of one field.

    The app must have a list that is by this field: its header tells how many.
    """

    def reach(self, declared: Catalogue, contents: Contents, params: Mapping[str, str]) -> list[str]:
        where = self.filled(declared, params)
        return [str(len(matching(contents, self.record, where)))]

    def steps(self, oracle: Oracle) -> Iterator[Action]:
        ((name, value),) = self.filled(oracle.catalogue, oracle.params).items()
        yield from oracle.count(self.record, name, value)
