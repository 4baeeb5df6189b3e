"""Tasks on a phone: a goal in words, how the phone is prepared for it, and when it is reached.

The life cycle is AndroidWorld's (Rawles et al., 2024, arXiv 2405.14573). What counts as success is said by
goals (:mod:`perdure.envs.device.goals`): the phone must hold exactly what it held before, changed as they
say.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.device.catalogue import Catalogue, catalogue
from perdure.envs.device.declare import One
from perdure.envs.device.fields import Field, Value
from perdure.envs.device.goals import Goal, filled, slots_in
from perdure.envs.device.phone import Contents, Phone, kept
from perdure.envs.device.versions import versioned

# How many slots a task may have, and how hard one is.
SLOTS = 10
DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Slot:
    """What a parameter may be: a value of a field, ``Slot("calendar.event.title")``, or one of some words.

    A slot that the task's wording does not name is hidden: the agent has to find it out on the phone.
    """

    of: str = ""
    among: tuple[str, ...] = ()

    def field(self, declared: Catalogue) -> Field | None:
        """Return the field that it is a value of."""
        if not self.of:
            return None
        kind, _, name = self.of.rpartition(".")
        if kind not in declared.records:
            raise unknown("type of records", kind, declared.records)
        if name not in declared.records[kind].fields:
            raise unknown(f"field of {kind}", name, declared.records[kind].fields)
        return declared.records[kind].fields[name]

    def texts(self, declared: Catalogue) -> list[str]:
        """Return what it may be."""
        field = self.field(declared)
        return (
            list(self.among) or [field.show(value) for value in field.values if value != ""]
            if field
            else [*self.among]
        )

    def cut(self, declared: Catalogue, parts: int) -> list[list[str]]:
        """Return what it may be in each of so many stretches of its field's values."""
        own = self.texts(declared)
        every = Slot(self.of).texts(declared) if self.of else own
        return [[text for text in stretch(every, part, parts) if text in own] for part in range(parts)]


class Given:
    """What is on the phone before: ``Given("calendar.event", title="{title}")``.

    Fields that are not told are drawn, those of a :class:`One` stay as they are.
    """

    def __init__(self, record: str, /, **values: Value) -> None:
        self.record, self.values = record, values


class Task:
    """A task: class attributes say what it is, an instance is one with its parameters.

    Attributes
    ----------
    template:
        The goal with ``{slots}``.
    app_names:
        The apps that it is about, by name; the first one is what it is counted to.
    complexity:
        A tenth of the steps that it may take.
    difficulty:
        easy, medium or hard.
    schema:
        What each parameter may be.
    tags:
        Such as data_entry, data_edit, search, information_retrieval.
    setup:
        What is on the phone before, besides records at random that have none of the parameters' values.
    goals:
        What has to be done, in this order.
    noise:
        How many records at random there are of a type, least and most, where not as many as usual.

    Parameters
    ----------
    params:
        A text for each slot: one that it may have, or any where its field takes any; slots that may have the
        same values must have different ones.
    seed:
        Of what is on the phone besides.

    Examples
    --------
    >>> task = get_task("CalendarAddEvent")
    >>> task.goal
    'Add an event called Choir to the calendar, on Nov 7 at 18:00.'
    """

    template: ClassVar[str]
    app_names: ClassVar[tuple[str, ...]]
    complexity: ClassVar[float]
    difficulty: ClassVar[str] = "easy"
    schema: ClassVar[Mapping[str, Slot]] = {}
    tags: ClassVar[tuple[str, ...]] = ()
    setup: ClassVar[tuple[Given, ...]] = ()
    goals: ClassVar[tuple[Goal, ...]] = ()
    noise: ClassVar[Mapping[str, tuple[int, int]]] = {}

    def __init__(self, params: Mapping[str, str], seed: int = 0, declared: Catalogue | None = None) -> None:
        self.catalogue = declared or catalogue()
        missing = [name for name in self.schema if not isinstance(params.get(name), str)]
        if missing or set(params) - set(self.schema):
            raise PerdureError(f"{self.name()} takes {', '.join(self.schema) or 'no parameters'} as texts; "
                               f"found {shown(dict(params))}")  # fmt: skip
        self.params, self.seed = dict(params), check_whole("seed", seed, least=0)
        for name, slot in self.schema.items():
            self._check_text(name, slot)

    def _check_text(self, name: str, slot: Slot) -> None:
        """Refuse a text with which there is nothing to do, or nothing that does it."""
        text, texts = self.params[name], slot.texts(self.catalogue)
        field = slot.field(self.catalogue)
        what = f"{self.name()}: expected {name}"
        # Several answers are written with commas between them.
        if not text.isprintable() or text.strip() != text or not text or "," in text:
            raise PerdureError(f"{what} without commas and outer blanks, in one line; found {shown(text)}")
        if (slot.among or field is None) and text not in texts:
            raise PerdureError(f"{what} that is one of {', '.join(texts)}; found {shown(text)}")
        if field is not None and field.read(text) is None:
            most = f"one of {', '.join(texts[:3])}, ..., {texts[-1]}" if len(texts) > 5 else ", ".join(texts)
            raise PerdureError(f"{what} that is {most}; found {shown(text)}")
        others = [
            other for other, one in self.schema.items()
            if other != name and self.params[other] == text
            and not set(texts).isdisjoint(one.texts(self.catalogue))
        ]  # fmt: skip
        if others and set(texts) - set(self.params.values()):
            raise PerdureError(f"{what} and {others[0]} that differ; found {shown(text)} twice")

    # ---- what it is -----------------------------------------------------------------------------------

    @classmethod
    def name(cls) -> str:
        """Return the template's name."""
        return cls.__name__

    @classmethod
    def budget(cls) -> int:
        """Return how many steps an agent may take."""
        return int(10 * cls.complexity)

    @classmethod
    def told(cls) -> tuple[str, ...]:
        """Return the slots that the wording names, in the order of the schema."""
        named = slots_in(cls.template)
        return tuple(name for name in cls.schema if name in named)

    @classmethod
    def usable(cls) -> tuple[str, ...]:
        """Return the slots whose values can be typed by number, in the order of the schema.

        These are the ones told, and of those hidden the ones that have to be written, once a screen has shown
        them. The others are never pointed out: a policy that could tell which of the texts on a screen is the
        hidden one would have the answer without looking for it.

        >>> get_task("NotesFromEvent").usable(), get_task("SportsFurthest").usable()
        (('title', 'event', 'place'), ('sport',))
        """
        written = {slot for goal in cls.goals for slots in goal.written().values() for slot in slots}
        return tuple(name for name in cls.schema if name in written or name in cls.told())

    @property
    def goal(self) -> str:
        """The goal in words."""
        return self.template.format(**self.params)

    @classmethod
    def generate_random_params(
        cls, rng: Random, declared: Catalogue | None = None, part: int = 0, parts: int = 1
    ) -> dict[str, str]:
        """Draw a value for each slot, no two the same where there are enough.

        Slots that :meth:`divided` names draw from the ``part``-th of ``parts`` stretches of what they may be.
        """
        params: dict[str, str] = {}
        divided = cls.divided(parts, declared)
        for name, slot in cls.schema.items():
            texts = slot.texts(declared or catalogue())
            texts = slot.cut(declared or catalogue(), parts)[part] if name in divided else texts
            params[name] = rng.choice([t for t in texts if t not in params.values()] or texts)
        return params

    @classmethod
    def divided(cls, parts: int, declared: Catalogue | None = None) -> tuple[str, ...]:
        """Return the slots whose values can be cut into so many stretches.

        What is cut are the values of the field, the same way for all slots of it in all templates. Of each
        stretch a slot must have as many values as there are slots that share some of its values.

        >>> get_task("CalendarAddEvent").divided(2), get_task("CalendarAddEvent").divided(40)
        (('title', 'date', 'time'), ('time',))
        """
        pools = {name: slot.texts(declared or catalogue()) for name, slot in cls.schema.items()}
        rivals = {
            name: sum(not set(texts).isdisjoint(other) for other in pools.values())
            for name, texts in pools.items()
        }
        fewest = {
            name: min(map(len, slot.cut(declared or catalogue(), parts))) for name, slot in cls.schema.items()
        }
        return tuple(name for name in pools if parts > 1 and fewest[name] >= rivals[name])

    # ---- its life -------------------------------------------------------------------------------------

    def initialize_task(self, phone: Phone) -> None:
        """Prepare a phone: it holds what is given, and records at random."""
        phone.reset()
        for name in (*(given.record for given in self.setup), *self.noise):
            if name not in self.catalogue.records:
                raise unknown("type of records", name, self.catalogue.records)
        for name, kind in self.catalogue.records.items():
            # Each type has draws of its own: what an app holds does not depend on which others there are.
            rng = Random(instance_seed(self.seed, name, 0))
            given = [filled(kind, one.values, self.params) for one in self.setup if one.record == name]
            if isinstance(kind, One):
                for values in given:
                    phone.add(name, values)
                continue
            n = rng.randint(*self.noise.get(name, kind.noise))
            about = {key: {self.params[slot] for slot in self._about(name, key)} for key in kind.fields}
            keys: set[Value] = set()
            drawn = [self._drawn(name, rng, keys, about) for _ in range(n)]
            rows = [*drawn, *({**self._drawn(name, rng, keys, about), **values} for values in given)]
            rng.shuffle(rows)
            for row in rows:
                phone.add(name, row)
        self._expected, self._answers = self._aim(phone.contents)

    def _drawn(
        self, name: str, rng: Random, keys: set[Value], about: Mapping[str, set[str]]
    ) -> dict[str, Value]:
        """Draw a record that no task's slot is about, and that no other has the first field of."""
        kind, row = self.catalogue.records[name], {}
        for i, (key, field) in enumerate(kind.fields.items()):
            taken = about[key]
            free = [v for v in field.values if field.show(v) not in taken] if taken else field.values
            fresh = [value for value in free if value not in keys] if i == 0 else free
            row[key] = rng.choice(fresh or free or [field.default])
        keys.add(next(iter(row.values())))
        return row

    def _about(self, record: str, field: str) -> set[str]:
        """Return the slots whose values records at random must not have in a field."""
        written = (goal.written().get(field, ()) for goal in self.goals if goal.record == record)
        of = (slot for slot, one in self.schema.items() if one.of == f"{record}.{field}")
        return {*of, *(slot for slots in written for slot in slots)}

    def _aim(self, contents: Contents) -> tuple[Contents, list[str]]:
        """Return what the phone must hold in the end, and what must have been answered."""
        # Goals put other records in the places of those that they change.
        wanted: Contents = {name: [*rows] for name, rows in contents.items()}
        answers: list[str] = []
        for goal in self.goals:
            answers += goal.reach(self.catalogue, wanted, self.params)
        return wanted, answers

    @property
    def expected(self) -> Contents:
        """What the phone must hold in the end."""
        self._check_begun()
        return self._expected

    @property
    def answers(self) -> list[str]:
        """What must have been answered, in any order."""
        self._check_begun()
        return self._answers

    def is_successful(self, phone: Phone) -> float:
        """Return 1 where the goal is reached and the agent has declared so, else 0."""
        self._check_begun()
        done = phone.status == "complete" and Counter(phone.answers) == Counter(self._answers)
        return float(done and phone.kept() == kept(self.catalogue, self._expected))

    def tear_down(self, phone: Phone) -> None:
        """Leave a phone as it comes from the factory."""
        phone.reset()

    def _check_begun(self) -> None:
        if not hasattr(self, "_expected"):
            raise PerdureError(f"{self.name()}: expected initialize_task first")


# ---- the table of templates ---------------------------------------------------------------------------

TEMPLATES: dict[str, type[Task]] = {}


def template(kind: type[Task]) -> type[Task]:
    """Enter a class of tasks in the table, under its name.

    Raises
    ------
    PerdureError
        For what says not all that a template has to, and a name that is taken.
    """
    name, told = kind.__name__, getattr(kind, "template", "")
    before = TEMPLATES.get(name)
    if before is not None and before.__module__ != kind.__module__:
        raise PerdureError(f"template {name!r} is registered already")
    missing = [key for key in ("template", "app_names", "complexity") if not getattr(kind, key, None)]
    if missing or not kind.goals:
        raise PerdureError(f"{name} must say its {', '.join(missing) or 'goals'}")
    unknown_slots = set(slots_in(told)) - set(kind.schema)
    if unknown_slots:
        raise PerdureError(f"{name} must have {', '.join(sorted(unknown_slots))} in its schema")
    if kind.difficulty not in DIFFICULTIES or len(kind.schema) > SLOTS:
        raise PerdureError(f"{name} must be {', '.join(DIFFICULTIES)}, with at most {SLOTS} slots; found "
                           f"{shown(kind.difficulty)} with {len(kind.schema)}")  # fmt: skip
    TEMPLATES[name] = kind
    return kind


def templates() -> dict[str, type[Task]]:
    """Return all templates by name, in order."""
    catalogue()
    return dict(sorted(TEMPLATES.items()))


def stretch(texts: Sequence[str], part: int, parts: int) -> list[str]:
    """Return the ``part``-th of so many stretches of texts: disjoint, in order, and together all texts.

    >>> stretch("abcdefg", 0, 2), stretch("abcdefg", 1, 2)
    (['a', 'b', 'c'], ['d', 'e', 'f', 'g'])
    """
    return list(texts[part * len(texts) // parts : (part + 1) * len(texts) // parts])


def instance_seed(seed: int, name: str, index: int) -> int:
    """Return the seed of one instance of a suite: of the SHA-256 of ``seed_name_index``."""
    return int.from_bytes(hashlib.sha256(f"{seed}_{name}_{index}".encode()).digest()[:4], "big")


def get_task(
    name: str, seed: int = 0, index: int = 0, *, part: int = 0, parts: int = 1, version: int = 0
) -> Task:
    """Return an instance of a template.

    Parameters
    ----------
    name:
        Of the template.
    seed, index:
        The ``index``-th instance of the suite with this seed.
    part, parts:
        Parameters are drawn from the ``part``-th of ``parts`` stretches of their values
        (:meth:`Task.divided`); what is on the phone besides is the same in all.
    version:
        Of the phone's screens (:mod:`perdure.envs.device.versions`).
    """
    every = templates()
    if not isinstance(name, str) or name not in every:
        raise unknown("task", name, every)
    seed, index = check_whole("seed", seed, least=0), check_whole("index", index, least=0)
    part = check_whole("part", part, least=0, most=check_whole("parts", parts) - 1)
    kind, own = every[name], instance_seed(seed, name, index)
    return kind(
        kind.generate_random_params(Random(own), None, part, parts),
        own,
        versioned(check_whole("version", version, least=0)),
    )
