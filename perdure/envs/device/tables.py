"""The declarations of a phone as tables of whole numbers, which the batched phone looks up.

All that a phone holds is one row of cells: each type's records one after the other, a cell for the presence
of each and one for each field, then the form's draft. A cell holds the number of a text. Behind them are
cells for what is not to be written, for nothing, for how many rows the screen has, and for each text that is
always the same. What elements show and effects write is known by addresses, of each item or effect for each
place of a record. A step is then a few look-ups and a gather and a scatter over the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.envs.device.catalogue import Catalogue
from perdure.envs.device.coding import OFF, ON, Coding, coding
from perdure.envs.device.declare import (
    CAPACITY,
    CLASSES,
    ELEMENTS,
    PAGE,
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
from perdure.envs.device.phone import Contents
from perdure.envs.device.task import SLOTS
from perdure.envs.device.versions import versioned
from perdure.envs.numpy_rules import Array

# Columns of the tables: what is looked up of a screen, of an effect besides its writes, and of an action.
SCREEN = ("pinned", "contents", "has_rows", "scan", "stride", "capacity", "key", "wanted_at", "up")
EFFECT = ("go", "opens", "target", "offset", "sign", "typed", "hash_base", "hash_stride", "hash_type")
ACTION = (
    "click", "type", "scroll", "back", "go", "element", "slot", "answer_element", "answer_slot", "complete",
    "status",
)  # fmt: skip
STAYS, ROW, NONE, SAVED = range(4)
OPENED, SAVES, ADDS = range(3)
# Which part of its contents a screen shows: what page of the fixed ones, or how many rows.
PARTS = PAGE + 1
# Ways that an element can look at once: whether it is checked, whether it scrolls, whether it is in focus.
STANCES = 8
# Odd numbers that hashes multiply by.
_FIRST, _SECOND = 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables over screens, items (elements as they are declared; 0 is none), effects and actions.

    Parameters
    ----------
    screen, effect, action:
        ``[columns, screens]``, and so on; an item's click has the item's number.
    items:
        What stands where on a part of a screen, ``[screens * PARTS, ELEMENTS]``.
    shows:
        Addresses of an item's values, and of what a switch is bound to, ``[items * CAPACITY, VALUES + 1]``.
    looks:
        Class and flags of an item in each stance, ``[items * STANCES, ...]`` float32.
    reads, writes:
        Addresses that an effect writes from and to, ``[effects * CAPACITY, WIDTH]``.
    typing, accepts:
        The effect of typing into an item, and the first entry in ``takes`` of its field, ``[items]`` each.
    takes:
        Whether a field takes a text, ``[fields * texts]`` bool.
    salts:
        What hashes multiply the cells of a type's records by, ``[types + 1, WIDTH]``; zero for what does not
        count.
    where:
        One-hot vectors of the app and the name of a screen, ``[screens, apps + screens]``.
    bits:
        The bits of numbers below ``2^SLOTS``, one float each.
    counted:
        The cell that holds how many rows the screen has.
    """

    screen: Tensor
    effect: Tensor
    action: Tensor
    items: Tensor
    shows: Tensor
    looks: Tensor
    reads: Tensor
    writes: Tensor
    typing: Tensor
    accepts: Tensor
    takes: Tensor
    salts: Tensor
    where: Tensor
    bits: Tensor
    counted: int


class Compiler:
    """Numbers for addresses, and tables from them.

    Parameters
    ----------
    codes:
        Numbers of all texts, screens and actions.
    declared:
        The declarations, where they are another version of those that have the numbers.
    """

    def __init__(self, codes: Coding, declared: Catalogue | None = None) -> None:
        self.codes, self.catalogue = codes, declared or codes.catalogue
        self.base: dict[str, int] = {}
        at = 0
        for name, kind in self.catalogue.records.items():
            self.base[name] = at
            at += kind.capacity * self.stride(name)
        self.draft = at
        # A search for rows looks at as many places as a type can have at most.
        self.nowhere = at + WIDTH + CAPACITY * WIDTH
        self.nothing, self.counted = self.nowhere + 1, self.nowhere + 2
        # The numbers that are always in the cells from there on.
        self.constants: dict[int, int] = {}
        self.types = {name: i + 1 for i, name in enumerate(self.catalogue.records)}
        numbered = [(layout, item) for layout in self.catalogue.layouts.values() for item in layout.items]
        self.first: dict[str, int] = {}
        for i, (layout, _) in enumerate(numbered):
            self.first.setdefault(layout.name, i + 1)
        self.numbered = numbered
        self._tables = self._made()
        if max(self.cells, len(codes.texts)) >= 1 << 15:
            found = f"{self.cells} and {len(codes.texts)}"
            raise PerdureError(f"expected at most 32767 cells, and texts; found {found}")

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.counted + 1 + len(self.constants)

    def constant(self, number: int) -> int:
        """Return the cell in which a number always is."""
        return self.constants.setdefault(number, self.cells) if number else self.nothing

    def stride(self, record: str) -> int:
        """Return how many cells a record has."""
        return 1 + len(self.catalogue.records[record].fields)

    def field_cell(self, record: str, name: str) -> int:
        """Return which of a record's cells a field is."""
        return 1 + list(self.catalogue.records[record].fields).index(name)

    def addresses(self, source: Source, layout: Layout, adds: str = "", field: Field | None = None) -> Array:
        """Return where a value is, by the place of the record that is meant, ``[CAPACITY]``."""
        if isinstance(source, Count):
            return np.full(CAPACITY, self.counted)
        if not isinstance(source, Of):
            text = str(source) if field is None else field.show(source)
            return np.full(CAPACITY, self.constant(self.codes.texts[text]))
        if source.place == "draft":
            return np.full(CAPACITY, self.draft + self.field_cell(layout.record, source.name))
        return self.places(self.catalogue.type_of(source, layout, adds), source.name)

    def places(self, record: str, name: str = "") -> Array:
        """Return the cells of a field, or of the presence, of a type's records, ``[CAPACITY]``."""
        kind = self.catalogue.records[record]
        step = 0 if isinstance(kind, One) else self.stride(record)
        at = self.base[record] + (self.field_cell(record, name) if name else 0)
        return np.array([at + step * min(place, kind.capacity - 1) for place in range(CAPACITY)])

    # ---- what a phone holds ---------------------------------------------------------------------------

    def fill(self, contents: Contents) -> Array:
        """Return the cells of what a phone holds, ``[cells]`` int16."""
        cells = np.zeros(self.cells, dtype=np.int16)
        cells[list(self.constants.values())] = list(self.constants)
        for name, rows in contents.items():
            kind, width = self.catalogue.records[name], self.stride(name)
            for place, one in enumerate(rows):
                if one is not None:
                    at, held = (
                        self.base[name] + place * width,
                        zip(kind.fields.values(), one.values(), strict=True),
                    )
                    texts = [self.codes.texts.get(field.show(value), 0) for field, value in held]
                    cells[at : at + width] = [1, *texts]
        return cells

    def digest(self, cells: Array, salts: Tensor) -> Tensor:
        """Return the sum of the hashes of all records of some phones ``[n, cells]``: in whatever places."""
        total = torch.zeros(len(cells), dtype=torch.int64)
        for name in self.catalogue.kept:
            width, base = self.stride(name), self.base[name]
            held = cells[:, base : base + width * self.catalogue.records[name].capacity]
            rows = torch.from_numpy(held.astype(np.int64).reshape(len(cells), -1, width))
            total += record_hash(rows, salts[self.types[name], :width]).sum(-1)
        return total

    # ---- tables ---------------------------------------------------------------------------------------

    def tables(self) -> Tables:
        """Return all tables."""
        return self._tables

    def _made(self) -> Tables:
        codes, layouts = self.codes, list(self.catalogue.layouts.values())
        effects = [self._effect(None, Effect())]
        effects += [self._effect(layout, item.click or Effect()) for layout, item in self.numbered]
        fields: list[Field] = []
        typing, accepts = [0], [0]
        for layout, item in self.numbered:
            typing.append(0)
            accepts.append(0)
            if item.kind == "EditText" and item.bound is not None:
                field = self.catalogue.field(item.bound, layout)
                fields += [] if field in fields else [field]
                typing[-1], accepts[-1] = len(effects), fields.index(field) * len(codes.texts)
                effects.append(self._typed(layout, item.bound))
        takes = [isinstance(f, Text) or f.read(text) is not None for f in fields for text in codes.texts]
        apps = [*codes.apps]
        where = [
            [layout.app == app for app in apps] + [layout is one for one in layouts] for layout in layouts
        ]
        shows = np.concatenate([self._shown(None, None), *(self._shown(*one) for one in self.numbered)])
        numbers = torch.arange(1 << SLOTS).unsqueeze(-1)
        return Tables(
            _columns([self._screen(layout) for layout in layouts]), _columns([row for row, _, _ in effects]),
            _columns([self._action(i) for i in range(len(codes.actions))]),
            whole([row for layout in layouts for row in self._parts(layout)]), _short(shows),
            torch.tensor([row for item in (None, *(i for _, i in self.numbered)) for row in _looks(item)]),
            _short(np.concatenate([reads for _, reads, _ in effects])),
            _short(np.concatenate([writes for _, _, writes in effects])), whole(typing), whole(accepts),
            torch.tensor(takes or [True] * len(codes.texts)), self._salts(), torch.tensor(where).float(),
            (numbers >> torch.arange(SLOTS) & 1).float(), self.counted,
        )  # fmt: skip

    def _salts(self) -> Tensor:
        rng, salts = Random(0), np.zeros((len(self.types) + 1, WIDTH), dtype=np.int64)
        for name, i in self.types.items():
            drawn = [rng.getrandbits(62) | 1 for _ in range(WIDTH)]
            if name in self.catalogue.kept:
                salts[i, : self.stride(name)] = drawn[: self.stride(name)]
        return torch.from_numpy(salts)

    def _screen(self, layout: Layout) -> list[int]:
        """Return a screen's row of the table."""
        rows, told = layout.rows, {"wanted_at": self.nothing}
        scanned = rows.record if rows else layout.makes
        if scanned:
            kind = self.catalogue.records[scanned]
            told |= {"scan": self.base[scanned], "stride": self.stride(scanned), "capacity": kind.capacity}
        if rows and rows.where:
            name, source = rows.where
            field = self.catalogue.records[rows.record].fields[name]
            told["key"] = self.field_cell(rows.record, name)
            told["wanted_at"] = int(self.addresses(source, layout, field=field)[0])
        up = self.codes.screen_number[layout.up]
        return _row(SCREEN, pinned=len(layout.pinned), contents=len(layout.content),
                    has_rows=int(rows is not None), up=up, **told)  # fmt: skip

    def _parts(self, layout: Layout) -> Array:
        """Return the items of each part of a screen, ``[PARTS, ELEMENTS]``."""
        table = np.zeros((PARTS, ELEMENTS), dtype=np.int64)
        first, stay = self.first.get(layout.name, 0), len(layout.pinned)
        table[:, :stay] = first + np.arange(stay)
        if len(layout.content) > PARTS * PAGE:
            raise PerdureError(f"{layout.name} must have at most {PARTS * PAGE} elements; found more")
        for part in range(PARTS):
            if layout.rows:
                table[part, stay : stay + part] = first + stay
                continue
            n = min(PAGE, max(0, len(layout.content) - part * PAGE))
            table[part, stay : stay + n] = first + stay + part * PAGE + np.arange(n)
        return table

    def _shown(self, layout: Layout | None, item: Item | None) -> Array:
        """Return the addresses of what an item shows, ``[CAPACITY, VALUES + 1]``."""
        table = np.full((CAPACITY, VALUES + 1), self.nothing)
        if layout is None or item is None:
            return table
        for i, source in enumerate((item.text, *item.details)):
            table[:, i] = self.addresses(source, layout)
        if item.kind == "Switch" and item.bound is not None:
            table[:, VALUES] = self.addresses(item.bound, layout)
        return table

    def _effect(self, layout: Layout | None, effect: Effect) -> tuple[list[int], Array, Array]:
        """Return an effect's row of the table, and the addresses that it writes from and to."""
        reads = np.full((CAPACITY, WIDTH), self.nothing)
        writes = np.full((CAPACITY, WIDTH), self.nowhere)
        if layout is None:
            return _row(EFFECT, go=-1, sign=1), reads, writes
        told, adds, kept, n = {"sign": 1}, effect.adds, set[str](), len(effect.puts)
        # A draft is that of the form which the effect opens, or of the screen's own.
        form = self.catalogue.layouts.get(effect.go, layout)
        drafting = form if form.record and effect.opens != "saved" else layout
        for i, (target, source) in enumerate(effect.puts):
            drafted = target.place == "draft"
            shown = drafting if drafted else layout
            field = self.catalogue.field(target, shown, adds)
            kept |= set() if drafted else {self.catalogue.type_of(target, shown, adds)}
            writes[:, i] = self.addresses(target, shown, adds)
            if isinstance(source, Flip):
                reads[:, i] = writes[:, i]
                told |= {"sign": -1, "offset": OFF + ON}
            else:
                reads[:, i] = self.addresses(source, layout, adds, field)
        made = adds or (layout.record if effect.opens == "saved" else "")
        if made or effect.deletes:
            writes[:, n] = self.places(made or layout.record)
            # Presence is no text, but as a number it is read like one.
            reads[:, n] = self.constant(1 if made else 0)
            kept.add(made or layout.record)
        kept &= set(self.catalogue.kept)
        flips = sum(isinstance(source, Flip) for _, source in effect.puts)
        if len(kept) > 1 or n >= WIDTH or (flips and n > 1):
            found = f"{n} fields of {', '.join(sorted(kept)) or 'drafts and views'}"
            raise PerdureError(f"a click on {layout.name} must write one record, or flip one; found {found}")
        for name in kept:
            step = 0 if isinstance(self.catalogue.records[name], One) else self.stride(name)
            told |= {"hash_base": self.base[name], "hash_stride": step, "hash_type": self.types[name]}
        opens = {"row": ROW, "none": NONE, "saved": SAVED}.get(effect.opens, STAYS)
        go = self.codes.screen_number[effect.go] if effect.go else -1
        target_mode = ADDS if adds else SAVES if made else OPENED
        return _row(EFFECT, go=go, opens=opens, target=target_mode, **told), reads, writes

    def _typed(self, layout: Layout, bound: Of) -> tuple[list[int], Array, Array]:
        """Return the effect of typing: what is read is nothing, to which the typed text's number is added."""
        value = self.catalogue.field(bound, layout).default
        row, reads, writes = self._effect(layout, Effect(puts=((bound, value),)))
        row[EFFECT.index("typed")] = 1
        return row, np.full_like(reads, self.nothing), writes

    def _action(self, index: int) -> list[int]:
        one = self.codes.actions[index]
        told = {one.kind: 1} if one.kind in ACTION else {}
        if one.kind == "scroll":
            told["scroll"] = 1 if one.word == "down" else -1
        screen = {"home": "home"}.get(one.kind, self.catalogue.main(one.word) if one.kind == "open" else "")
        go = self.codes.screen_number[screen] if screen else -1
        told |= {"complete": int(one.kind == "status" and one.word == "complete"), "go": go}
        return _row(ACTION, element=max(one.element, 0), slot=max(one.slot, 0), **told)


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


# ---- small parts ------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def compiled(version: int = 0) -> tuple[Compiler, Tables]:
    """Return the tables of the phone with all apps, in a version of its screens."""
    compiler = Compiler(coding(), versioned(version))
    return compiler, compiler.tables()


def _row(columns: tuple[str, ...], **told: int) -> list[int]:
    return [told.get(name, 0) for name in columns]


def whole(rows: object) -> Tensor:
    """Return whole numbers as a tensor."""
    return torch.from_numpy(np.array(rows, dtype=np.int64))


def _columns(rows: list[list[int]]) -> Tensor:
    return whole(rows).t().contiguous()


def _short(rows: Array) -> Tensor:
    return torch.from_numpy(rows.astype(np.int16))


def _looks(item: Item | None) -> list[list[float]]:
    """Return an item's class as a one-hot vector, and its flags, for each stance."""
    if item is None:
        return [[0.0] * (len(CLASSES) + 6)] * STANCES
    editable, checkable = item.kind == "EditText", item.kind == "Switch"
    still = [*(item.kind == one for one in CLASSES), item.click is not None or editable, editable, checkable]
    stances = [(stance >> 2 & 1, stance >> 1 & 1, stance & 1) for stance in range(STANCES)]
    return [[float(flag) for flag in (*still, *stance)] for stance in stances]
