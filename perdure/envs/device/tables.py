"""The declarations of a phone as tables of whole numbers, which the batched phone looks up.

All that a phone holds is one row of cells: each type's records one after the other, a cell for the presence of
each and one for each field, then the form's draft. A cell holds the number of a text. An address is ``base +
stride * place``, so a field of "the open record" or "this row" is two numbers. An effect is a list of writes, each
from an address or a constant to an address.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.envs.device.coding import ZERO, Coding, coding
from perdure.envs.device.declare import (
    CAPACITY,
    CLASSES,
    VALUES,
    WIDTH,
    Count,
    Effect,
    Flip,
    Item,
    Layout,
    Of,
    One,
    Source,
)
from perdure.envs.device.fields import Field, Text
from perdure.envs.device.phone import Contents, Phone
from perdure.envs.device.task import SLOTS, Task
from perdure.envs.numpy_rules import Array

# Columns of the tables: what is looked up of a screen, of an effect besides its writes, and of an action.
SCREEN = (
    "pinned", "first_pinned", "first_content", "contents", "has_rows", "scan", "stride", "capacity", "free",
    "key", "wanted", "wanted_at", "up",
)  # fmt: skip
EFFECT = ("go", "opens", "target", "flip", "typed", "hash_base", "hash_stride", "hash_type")
ACTION = ("click", "type", "scroll", "back", "go", "element", "slot", "answer_element", "answer_slot", "complete", "status")  # fmt: skip
STAYS, ROW, NONE, SAVED = range(4)
OPENED, SAVES, ADDS = range(3)
# Odd numbers that hashes multiply by.
_FIRST, _SECOND = 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables over screens, items (elements as they are declared; 0 is none), effects and actions.

    Parameters
    ----------
    screen:
        ``[screens, columns]``.
    shown:
        What an item shows, its values and then the field that a switch is bound to: constant (-1: none),
        whether the number of rows is added, base and stride, ``[items, 4, VALUES + 1]``.
    looks:
        Class and flags that stay, ``[items, ...]`` float32.
    effect:
        ``[effects, columns]``; an item's click has the item's number.
    writes:
        To (base, stride), from (base, stride), or constant (-1: none), ``[effects, 5, WIDTH]``.
    typing, accepts:
        The effect of typing into an item, and the number of the field, ``[items]`` each.
    takes:
        Whether a field takes a text, ``[fields, texts]`` bool.
    action:
        ``[actions, columns]``.
    salts:
        What hashes multiply the cells of a type's records by, ``[types + 1, WIDTH]``; zero for what does not
        count.
    cells:
        How many cells there are; the last is for what is not to be written.
    draft, app:
        The draft's first cell; the app of each screen, ``[screens]``, as many as there are for none.
    """

    screen: Tensor
    shown: Tensor
    looks: Tensor
    effect: Tensor
    writes: Tensor
    typing: Tensor
    accepts: Tensor
    takes: Tensor
    action: Tensor
    salts: Tensor
    cells: int
    draft: int
    app: Tensor


class Compiler:
    """Numbers for addresses, and tables from them.

    Parameters
    ----------
    codes:
        Numbers of all texts, screens and actions.
    """

    def __init__(self, codes: Coding) -> None:
        self.codes, self.catalogue = codes, codes.catalogue
        self.base: dict[str, int] = {}
        at = 0
        for name, kind in self.catalogue.records.items():
            self.base[name] = at
            at += kind.capacity * self.stride(name)
        self.draft = at
        # A search for rows looks at as many places as a type can have at most.
        self.cells = at + WIDTH + CAPACITY * WIDTH + 1
        self.types = {name: i + 1 for i, name in enumerate(self.catalogue.records)}

    def stride(self, record: str) -> int:
        """Return how many cells a record has."""
        return 1 + len(self.catalogue.records[record].fields)

    def offset(self, record: str, name: str) -> int:
        """Return which of a record's cells a field is."""
        return 1 + list(self.catalogue.records[record].fields).index(name)

    def address(self, of: Of, layout: Layout, adds: str = "", drafted: str = "") -> tuple[int, int]:
        """Return base and stride of a field of a screen."""
        if of.place == "draft":
            return self.draft + self.offset(drafted or layout.record, of.name), 0
        kind = self.catalogue.type_of(of, layout, adds)
        single = isinstance(self.catalogue.records[kind], One)
        return self.base[kind] + self.offset(kind, of.name), 0 if single else self.stride(kind)

    def number(self, source: Source, field: Field | None = None) -> int:
        """Return the number of a constant's text."""
        text = field.show(source) if field is not None and not isinstance(source, Of | Count) else str(source)
        return self.codes.texts[text]

    # ---- what a phone holds ---------------------------------------------------------------------------

    def fill(self, contents: Contents) -> Array:
        """Return the cells of what a phone holds, ``[cells]`` int16."""
        cells = np.zeros(self.cells, dtype=np.int16)
        cells[self.draft] = 1
        for name, rows in contents.items():
            kind, width = self.catalogue.records[name], self.stride(name)
            for place, one in enumerate(rows):
                if one is not None:
                    at, held = self.base[name] + place * width, zip(kind.fields.values(), one.values(), strict=True)
                    cells[at : at + width] = [1, *(self.codes.texts.get(field.show(v), 0) for field, v in held)]
        return cells

    def digest(self, cells: Array, salts: Array) -> int:
        """Return the sum of the hashes of all records: what is there, in whatever places."""
        total = 0
        for name, kind in self.catalogue.records.items():
            width = self.stride(name)
            rows = np.zeros((kind.capacity, WIDTH), dtype=np.int64)
            rows[:, :width] = cells[self.base[name] :][: kind.capacity * width].reshape(-1, width)
            hashed = record_hash(torch.from_numpy(rows), torch.from_numpy(salts[self.types[name]]))
            total += int(hashed.sum())
        return (total + (1 << 63)) % (1 << 64) - (1 << 63)

    # ---- tables ---------------------------------------------------------------------------------------

    def tables(self) -> Tables:
        """Return all tables."""
        rng = Random(0)
        salts = np.zeros((len(self.types) + 1, WIDTH), dtype=np.int64)
        for name, i in self.types.items():
            drawn = [rng.getrandbits(62) | 1 for _ in range(WIDTH)]
            salts[i, : self.stride(name)] = drawn[: self.stride(name)] if name in self.catalogue.kept else 0
        self.items: list[tuple[Layout, Item]] = []
        screens = [self._screen(layout) for layout in self.catalogue.layouts.values()]
        blank = _row(EFFECT, go=-1)
        still = np.zeros((5, WIDTH), dtype=np.int64)
        still[0], still[4] = self.cells - 1, 0
        effects, writes = [blank], [still]
        for layout, item in self.items:
            row, written = self._effect(layout, item.click or Effect(), still)
            effects.append(row)
            writes.append(written)
        fields: list[Field] = []
        typing, accepts = [0], [0]
        for layout, item in self.items:
            if item.kind != "EditText" or item.bound is None:
                typing.append(0)
                accepts.append(0)
                continue
            row, written = self._effect(layout, Effect(puts=((item.bound, ""),)), still)
            typing.append(len(effects))
            effects.append([*row[:4], 1, *row[5:]])
            writes.append(written)
            field = self.catalogue.field(item.bound, layout)
            fields += [] if field in fields else [field]
            accepts.append(fields.index(field))
        texts = list(self.codes.texts)
        takes = [[isinstance(f, Text) or f.read(text) is not None for text in texts] for f in fields or [Text()]]
        apps = [self.codes.apps.index(one.app) if one.app else len(self.codes.apps) for one in self.catalogue.layouts.values()]
        return Tables(
            _whole(screens), _whole([np.full((4, VALUES + 1), 0), *(self._shown(*one) for one in self.items)]),
            torch.tensor([_looks(None), *(_looks(item) for _, item in self.items)]), _whole(effects), _whole(writes),
            _whole(typing), _whole(accepts), torch.tensor(takes), _whole([self._action(i) for i in range(len(self.codes.actions))]),
            torch.from_numpy(salts), self.cells, self.draft, _whole(apps),
        )  # fmt: skip

    def _screen(self, layout: Layout) -> list[int]:
        """Number the items of a screen, and return its row of the table."""
        first = len(self.items) + 1
        self.items += [(layout, item) for item in layout.items]
        rows, makes = layout.rows, layout.makes
        scanned = rows.record if rows else makes
        told: dict[str, int] = {}
        if scanned:
            kind = self.catalogue.records[scanned]
            told |= {"scan": self.base[scanned], "stride": self.stride(scanned), "capacity": kind.capacity}
        if rows and rows.where:
            name, source = rows.where
            told["key"] = self.offset(rows.record, name)
            if isinstance(source, Of):
                told |= {"wanted": -1, "wanted_at": self.address(source, layout)[0]}
            else:
                told["wanted"] = self.number(source, self.catalogue.records[rows.record].fields[name])
        return _row(
            SCREEN, pinned=len(layout.pinned), first_pinned=first, first_content=first + len(layout.pinned),
            contents=len(layout.content), has_rows=int(rows is not None), free=int(not rows),
            up=self.codes.screen_number[layout.up], **told,
        )  # fmt: skip

    def _shown(self, layout: Layout, item: Item) -> Array:
        table = np.zeros((4, VALUES + 1), dtype=np.int64)
        for i, source in enumerate((item.text, *item.details)):
            if isinstance(source, Of):
                table[0, i], (table[2, i], table[3, i]) = -1, self.address(source, layout)
            elif isinstance(source, Count):
                table[0, i], table[1, i] = ZERO, 1
            else:
                table[0, i] = self.codes.texts[str(source)]
        if item.kind == "Switch" and item.bound is not None:
            table[0, VALUES], (table[2, VALUES], table[3, VALUES]) = -1, self.address(item.bound, layout)
        return table

    def _effect(self, layout: Layout, effect: Effect, still: Array) -> tuple[list[int], Array]:
        """Return an effect's row of the table, and its writes."""
        go = self.codes.screen_number[effect.go] if effect.go else -1
        drafted = self.catalogue.layouts[effect.go].record if effect.go and effect.opens != "saved" else layout.record
        writes, n, kept = still.copy(), 0, set()
        target_mode, flip = OPENED, 0
        for target, source in effect.puts:
            # A picker leads back to the form whose draft it writes to.
            to = self.address(target, layout, effect.adds, drafted if drafted else layout.record)
            writes[0, n], writes[1, n] = to
            if target.place != "draft":
                kind = self.catalogue.type_of(target, layout, effect.adds)
                kept |= {kind} & set(self.catalogue.kept)
                field = self.catalogue.field(target, layout, effect.adds)
            else:
                field = self.catalogue.records[drafted or layout.record].fields[target.name]
            if isinstance(source, Of):
                writes[2, n], writes[3, n] = self.address(source, layout, effect.adds, layout.record)
                writes[4, n] = -1
            elif isinstance(source, Flip):
                (writes[2, n], writes[3, n]), writes[4, n], flip = to, -1, 1
            else:
                writes[4, n] = self.number(source, field)
            target_mode = ADDS if target.place == "new" else target_mode
            n += 1
        if effect.opens == "saved" or effect.adds:
            kind = effect.adds or layout.record
            target_mode = ADDS if effect.adds else SAVES
            writes[:, n] = self.base[kind], self.stride(kind), 0, 0, 1
        elif effect.deletes:
            kept.add(layout.record)
            writes[:, n] = self.base[layout.record], self.stride(layout.record), 0, 0, 0
        if len(kept) > 1 or n >= WIDTH:
            raise PerdureError(f"a click on {layout.name} must write to one record; found {', '.join(kept)}")
        told: dict[str, int] = {}
        for kind in kept:
            single = isinstance(self.catalogue.records[kind], One)
            told = {"hash_base": self.base[kind], "hash_stride": 0 if single else self.stride(kind),
                    "hash_type": self.types[kind]}  # fmt: skip
        opens = {"row": ROW, "none": NONE, "saved": SAVED}.get(effect.opens, STAYS)
        return _row(EFFECT, go=go, opens=opens, target=target_mode, flip=flip, **told), writes

    def _action(self, index: int) -> list[int]:
        one = self.codes.actions[index]
        told = {name: 1 for name in ("click", "type", "back", "answer_element", "answer_slot", "status") if name == one.kind}
        if one.kind == "scroll":
            told["scroll"] = 1 if one.word == "down" else -1
        screen = {"home": "home", "open": self.catalogue.main(one.word) if one.kind == "open" else ""}.get(one.kind)
        go = self.codes.screen_number[screen] if screen else -1
        complete = int(one.kind == "status" and one.word == "complete")
        return _row(ACTION, element=max(one.element, 0), slot=max(one.slot, 0), go=go, complete=complete, **told)


def record_hash(cells: Tensor, salts: Tensor) -> Tensor:
    """Return a hash of each record's cells ``[..., WIDTH]``: zero where the first says that there is none."""
    return mixed((cells * salts).sum(-1)) * cells[..., 0]


def mixed(number: Tensor) -> Tensor:
    """Return whole numbers that look like noise; zero stays zero."""
    number = (number ^ (number >> 31)) * _FIRST
    return (number ^ (number >> 29)) * _SECOND


def answer_hash(number: Tensor) -> Tensor:
    """Return a hash of the number of an answer's text; sums of these tell what has been answered."""
    return mixed((number + 1) * _FIRST)


# ---- instances ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Bank:
    """Instances of tasks, ready to start: ``[instances, ...]`` each.

    Parameters
    ----------
    cells:
        What the phone holds, int16.
    digest, goal:
        Its hash, and what it must be in the end.
    answers:
        The sum of the hashes of what must be answered.
    template:
        The number of the template.
    slots, told:
        The numbers of the slots' values, -1 where there is none, ``[instances, SLOTS]``; which of them the
        goal tells.
    budget:
        In steps.
    """

    cells: Tensor
    digest: Tensor
    goal: Tensor
    answers: Tensor
    template: Tensor
    slots: Tensor
    told: Tensor
    budget: Tensor


def bank(compiler: Compiler, tables: Tables, tasks: list[Task]) -> Bank:
    """Return tasks as rows of tables."""
    phone, salts, codes = Phone(compiler.catalogue), tables.salts.numpy(), compiler.codes
    cells, digests, goals, answers, slots, told = [], [], [], [], [], []
    for task in tasks:
        task.initialize_task(phone)
        cells.append(compiler.fill(phone.contents))
        digests.append(compiler.digest(cells[-1], salts))
        goals.append(compiler.digest(compiler.fill(task.expected), salts))
        given = torch.tensor([codes.texts.get(text, 0) for text in task.answers], dtype=torch.int64)
        answers.append(int(answer_hash(given).sum()))
        rest = SLOTS - len(task.params)
        slots.append([codes.texts.get(text, 0) for text in task.params.values()] + [-1] * rest)
        told.append([name in task.told() for name in task.params] + [False] * rest)
    names = [codes.templates.index(task.name()) for task in tasks]
    return Bank(
        torch.from_numpy(np.stack(cells)), _whole(digests), _whole(goals), _whole(answers), _whole(names),
        _whole(slots), torch.tensor(told), _whole([task.budget() for task in tasks]),
    )  # fmt: skip


@lru_cache(maxsize=1)
def compiled() -> tuple[Compiler, Tables]:
    """Return the tables of the phone with all apps."""
    compiler = Compiler(coding())
    return compiler, compiler.tables()


def _row(columns: tuple[str, ...], **told: int) -> list[int]:
    return [told.get(name, 0) for name in columns]


def _whole(rows: object) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.int64))


def _looks(item: Item | None) -> list[float]:
    """Return an item's class as a one-hot vector, and whether it is clickable, editable and checkable."""
    kind = item.kind if item else ""
    clickable = item is not None and (item.click is not None or kind == "EditText")
    return [*(float(kind == one) for one in CLASSES), float(clickable), float(kind == "EditText"), float(kind == "Switch")]
