"""What fields of records hold: finite vocabularies of texts, choices, numbers, days and times."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.core.errors import PerdureError, shown

Value = str | int | bool
# The phone knows the days of one month and the half hours of a day.
DAYS = tuple(f"Nov {day}" for day in range(1, 31))
TIMES = tuple(f"{minutes // 60:02d}:{minutes % 60:02d}" for minutes in range(0, 24 * 60, 30))


@dataclass(frozen=True)
class Field:
    """A field: the values that it may hold, and how people change it.

    Parameters
    ----------
    values:
        The vocabulary; the order is that of dates and numbers.
    default:
        What a new record has.
    label:
        What screens call it; by default its name in the record.
    """

    values: tuple[Value, ...]
    default: Value
    label: str = ""

    # How people change it: they type it (edit), take one of a list (pick), or turn it on and off (switch).
    way = "edit"

    def __post_init__(self) -> None:
        if len({self.show(value) for value in self.values}) < len(self.values):
            raise PerdureError(f"expected different values; found {shown(self.values)}")
        # Several answers are written with commas between them.
        wrong = [text for text in map(self.show, self.values) if text.strip() != text or "," in text]
        if wrong:
            raise PerdureError(f"expected values without commas and outer blanks; found {shown(wrong[0])}")

    def show(self, value: Value) -> str:
        """Return the text that screens show for a value."""
        return str(value)

    def read(self, text: str) -> Value | None:
        """Return the value that a text means, or nothing where the field does not take it."""
        return next((value for value in self.values if self.show(value) == text), None)

    def takes(self, value: object) -> bool:
        """Tell whether a value is one of the field's type."""
        return any(value == one and type(value) is type(one) for one in (*self.values, self.default))


class Text(Field):
    """Free text, typed; the vocabulary is what tasks and the phone's contents are made of.

    >>> Text("Lunch", "Dinner").read("anything")
    'anything'
    """

    def __init__(self, *values: str, default: str = "", label: str = "") -> None:
        super().__init__(values, default, label)

    def read(self, text: str) -> str:
        return text

    def takes(self, value: object) -> bool:
        return isinstance(value, str)


class Choice(Field):
    """One of some words, picked from a list."""

    way = "pick"

    def __init__(self, *values: str, default: str = "", label: str = "") -> None:
        super().__init__(values, default or values[0], label)
        if self.default not in values:
            raise PerdureError(f"default must be one of {', '.join(values)}; found {shown(default)}")


class Bool(Field):
    """On or off.

    >>> Bool().show(True)
    'on'
    """

    way = "switch"

    def __init__(self, default: bool = False, label: str = "") -> None:
        super().__init__((False, True), default, label)

    def show(self, value: Value) -> str:
        return "on" if value else "off"


class Int(Field):
    """A whole number from ``low`` to ``high`` in steps, typed."""

    def __init__(
        self, low: int, high: int, step: int = 1, default: int | None = None, label: str = ""
    ) -> None:
        values = tuple(range(low, high + 1, step))
        super().__init__(values, low if default is None else default, label)
        if self.default not in values:
            raise PerdureError(f"default must lie on the way from {low} to {high}; found {shown(default)}")


class Date(Field):
    """A day of the phone's month, typed: ``"Nov 14"``."""

    def __init__(self, default: str = DAYS[0], label: str = "") -> None:
        super().__init__(DAYS, default, label)


class Time(Field):
    """A half hour of the day, typed: ``"09:30"``."""

    def __init__(self, default: str = TIMES[18], label: str = "") -> None:
        super().__init__(TIMES, default, label)
