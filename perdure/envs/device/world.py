"""The phone over tensors: thousands at once, by the same declarations as the readable one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, near, shown
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.device.bank import Bank, bank
from perdure.envs.device.coding import ON, ZERO, Coding, coding
from perdure.envs.device.declare import CAPACITY, ELEMENTS, PAGE, VALUES, WIDTH
from perdure.envs.device.layouts import layout
from perdure.envs.device.tables import (
    ACTION,
    ADDS,
    EFFECT,
    NONE,
    PARTS,
    ROW,
    SAVED,
    SAVES,
    SCREEN,
    STANCES,
    Tables,
    answer_hash,
    compiled,
    record_hash,
)
from perdure.envs.device.task import SLOTS, Task, get_task, templates
from perdure.envs.registry import environment

UP, PINNED = SCREEN.index("up"), SCREEN.index("pinned")


@environment("device")
@dataclass(frozen=True, repr=False)
class Device(Env):
    """Use a phone: 1 when the agent declares a task done and it is, else 0.

    An episode is an instance of a task, one of those there are, each as likely. It ends when the agent
    declares it complete or infeasible, or the task's budget of steps, which is seen, is used up. Actions and
    observations are those of :mod:`perdure.envs.device.coding`; they have the same shapes whatever the task.

    Parameters
    ----------
    task:
        The name of a template, that of an app for its templates, or ``"all"``.
    instances:
        How many instances of each template there are.
    seed:
        Of the instances.
    layout:
        Where the elements of a screen stand: 0 as usual, any other number in another order of its own.
    part, parts:
        Parameters are drawn from the ``part``-th of ``parts`` stretches of their values; templates that none
        of them can be cut of are left out (:meth:`perdure.envs.device.task.Task.divided`).
    version:
        Of the screens: 0 as usual (:mod:`perdure.envs.device.versions`).
    limit:
        Steps after which an episode is cut off, if not by its budget.

    Raises
    ------
    PerdureError
        For tasks that there are not.

    Examples
    --------
    >>> Device("SettingsWifi", instances=1).actions.n > 50
    True
    """

    task: str = "all"
    instances: int = 4
    seed: int = 0
    layout: int = 0
    part: int = 0
    parts: int = 1
    version: int = 0
    limit: int = field(default=200, kw_only=True)

    entry_point: ClassVar[str] = "perdure.envs.device.gym:Readable"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("instances", self.instances, most=10_000)
        check_whole("seed", self.seed, least=0)
        check_whole("layout", self.layout, least=0)
        check_whole("parts", self.parts)
        check_whole("part", self.part, least=0, most=self.parts - 1)
        check_whole("version", self.version, least=0)
        named(self.task, self.parts)

    # ---- what there is --------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task]:
        """The instances, in order."""
        return _tasks(self.task, self.instances, self.seed, self.part, self.parts, self.version)

    @property
    def coding(self) -> Coding:
        """What the numbers of actions and observations mean."""
        return coding()

    @property
    def shape(self) -> tuple[int, ...]:
        return (coding().size,)

    @property
    def actions(self) -> Discrete:
        return Discrete(len(coding().actions))

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.shape), torch.ones(self.shape)

    # ---- the environment ------------------------------------------------------------------------------

    def reset(self, rng: Rng, n: int) -> State:
        return self.start(self.drawn(rng, n))

    def drawn(self, rng: Rng, n: int) -> Tensor:
        """Return the numbers of the instances that ``n`` copies start with."""
        return rng.integers("instance", len(named(self.task, self.parts)) * self.instances, n)

    def start(self, instance: Tensor) -> State:
        """Return copies at the start of the instances of some numbers, ``[n]``."""
        held, tables = self._held(instance.device)
        zero = torch.zeros_like(instance)
        cells = held.cells[instance]
        view = _seen(tables, held, cells, instance, zero, zero, zero - 1, held.told[instance])
        return {
            "instance": instance, "screen": zero, "record": zero - 1, "focus": zero,
            "left": held.budget[instance], "digest": held.digest[instance], "answered": zero, **view,
        }  # fmt: skip

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        held, tables = self._held(action.device)
        instance, record, focus = state["instance"], state["record"], state["focus"]
        usual = layout(self.layout, action.device).done[action] if self.layout else action
        done = _columns(ACTION, tables.action, usual)
        # ---- what is pointed at
        element, slot = done["element"].unsqueeze(-1), done["slot"]
        item, row = (state[name].gather(1, element).squeeze(-1) for name in ("items", "rows"))
        value = held.slots.index_select(0, instance * SLOTS + slot)
        able = (state["known"] >> slot & 1) > 0
        taken = tables.takes.index_select(0, tables.accepts.index_select(0, focus) + value.clamp_min(0))
        typed = (done["type"] > 0) & able & taken
        clicked = done["click"] > 0
        effect = torch.where(clicked, item, torch.where(typed, tables.typing.index_select(0, focus), 0))
        # ---- what is written
        does = _columns(EFFECT, tables.effect, effect)
        row = torch.where(clicked, row, record).clamp_min(0)
        adds = (does["target"] == ADDS) | ((does["target"] == SAVES) & (record < 0))
        lost = adds & (state["free"] < 0)
        place = torch.where(adds, state["free"].clamp_min(0), row)
        # What was there is read first: the old cells may then be written over.
        counts = _counting(does, place)
        before = state["cells"].gather(1, counts)
        cells = _written(tables, state["cells"], torch.where(lost, 0, effect), does, row, place, value)
        digest = state["digest"] + _changed(tables, before, cells.gather(1, counts), does)
        opens = does["opens"]
        saved = torch.where(lost, record, place)
        record = torch.where(opens == SAVED, saved, torch.where(opens == ROW, row, record))
        record = torch.where(opens == NONE, -1, record)
        # ---- where it leads
        back = done["back"] > 0
        ahead = torch.maximum(does["go"], done["go"])
        moved = back | (ahead >= 0)
        screen = torch.where(back, tables.screen[UP].index_select(0, state["screen"]), state["screen"])
        screen = torch.where(ahead >= 0, ahead, screen)
        focusing = clicked & (tables.typing.index_select(0, item) > 0)
        focus = torch.where(moved, 0, torch.where(focusing, item, focus))
        further = state["scroll"] + PAGE * done["scroll"]
        further = torch.where((further >= 0) & (further < state["count"]), further, state["scroll"])
        scroll = torch.where(moved, 0, further)
        # ---- what has been said
        text = state["values"][:, :, 0].gather(1, element).squeeze(-1).long()
        by_element = (done["answer_element"] > 0) & (item > 0)
        by_slot = (done["answer_slot"] > 0) & able
        said = answer_hash(torch.where(by_element, text, value))
        answered = state["answered"] + torch.where(by_element | by_slot, said, 0)
        left = state["left"] - 1
        goal, answers = (wanted.index_select(0, instance) for wanted in (held.goal, held.answers))
        reached = (digest == goal) & (answered == answers)
        view = _seen(tables, held, cells, instance, screen, scroll, record, state["known"])
        new = {
            "instance": instance, "screen": screen, "record": record, "focus": focus,
            "left": left, "digest": digest, "answered": answered, **view,
        }  # fmt: skip
        return new, (reached & (done["complete"] > 0)).float(), (done["status"] > 0) | (left <= 0)

    def observe(self, state: State) -> Tensor:
        device = state["screen"].device
        (held, tables), codes = self._held(device), coding()
        instance, items, values, count = (state[name] for name in ("instance", "items", "values", "count"))
        known = embedding(state["known"], tables.bits)
        up, down = state["scroll"] > 0, state["scroll"] + PAGE < count
        rest = torch.stack([state["left"] / codes.longest, up.float(), down.float()], -1)
        # ---- elements: looks, values, and which known slots these equal
        pinned = tables.screen[PINNED].index_select(0, state["screen"])
        first = torch.where(count > PAGE, pinned, ELEMENTS).unsqueeze(-1)
        scrolls = torch.arange(ELEMENTS, device=device) >= first
        focused = (items == state["focus"].unsqueeze(-1)).long()
        stance = (values[:, :, VALUES] == ON).long() * 4 + scrolls.long() * 2 + focused
        looks = embedding(items * STANCES + stance, tables.looks)
        equal = (state["equal"] & state["known"][:, None, None]).long()
        text, details = equal[:, :, 0], equal[:, :, 1] | equal[:, :, 2]
        parts = [
            embedding(instance, held.template), embedding(state["screen"], tables.where),
            embedding(instance, held.shares) * known, known, rest, looks,
            values[:, :, :VALUES] / len(codes.texts), embedding(text, tables.bits),
            embedding(details, tables.bits),
        ]  # fmt: skip
        found = torch.cat([part.flatten(1) for part in parts], -1)
        return found[:, layout(self.layout, device).seen] if self.layout else found

    def _held(self, device: torch.device) -> tuple[Bank, Tables]:
        which = (self.task, self.instances, self.seed, self.part, self.parts, self.version)
        return _bank_on(*which, device), tables_on(device, self.version)


def named(task: str, parts: int = 1) -> list[str]:
    """Return the names of the templates that a word stands for: a template, an app's, or all.

    With several ``parts``, only of those whose parameters' values can be cut into so many stretches.
    """
    every = templates()
    found = [name for name, kind in every.items() if task in ("all", name, kind.app_names[0])]
    if not found:
        words = sorted({"all", *every, *coding().apps})
        close = ", ".join(near(task, words)) or "all"
        raise PerdureError(f"unknown task {shown(task)}: did you mean {close}?")
    kept = [name for name in found if parts == 1 or every[name].divided(parts)]
    if not kept:
        raise PerdureError(f"{task} must have parameters with enough values for {parts} parts; found none")
    return kept


# ---- parts of a step ----------------------------------------------------------------------------------


def _columns(names: tuple[str, ...], table: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """Return the columns of a table for some of its rows, each by itself in memory."""
    each = table.gather(1, rows.unsqueeze(0).expand(len(names), -1))
    return dict(zip(names, each.unbind(0), strict=True))


def _written(
    tables: Tables,
    cells: Tensor,
    effect: Tensor,
    does: dict[str, Tensor],
    row: Tensor,
    place: Tensor,
    value: Tensor,
) -> Tensor:
    """Return the cells after an effect."""
    source = embedding(effect * CAPACITY + row, tables.reads)
    at = embedding(effect * CAPACITY + place, tables.writes).long()
    read = cells.gather(1, source.long())
    offset = (does["offset"] + does["typed"] * value).to(cells.dtype).unsqueeze(-1)
    return cells.scatter(1, at, offset + does["sign"].to(cells.dtype).unsqueeze(-1) * read)


def _counting(does: dict[str, Tensor], place: Tensor) -> Tensor:
    """Return where the cells are that an effect may change and that count, ``[n, WIDTH]``."""
    first = (does["hash_base"] + does["hash_stride"] * place).unsqueeze(-1)
    return first + torch.arange(WIDTH, device=first.device)


def _changed(tables: Tables, before: Tensor, after: Tensor, does: dict[str, Tensor]) -> Tensor:
    """Return the difference that an effect makes to the hash of what counts, from the cells of a record."""
    salts = embedding(does["hash_type"], tables.salts)
    new, old = record_hash(torch.stack([after, before]).long(), salts).unbind(0)
    return new - old


def _seen(
    tables: Tables, held: Bank, cells: Tensor, instance: Tensor, screen: Tensor, scroll: Tensor,
    record: Tensor, known: Tensor,
) -> State:  # fmt: skip
    """Return what a screen shows: items, the places of their records, values, and which slots these equal.

    The cells are returned as well, with the number of rows in its place.
    """
    its = _columns(SCREEN, tables.screen, screen)
    wide = {name: column.unsqueeze(-1) for name, column in its.items()}
    rows = its["has_rows"] > 0
    # ---- which records are listed, or which places are free
    places = torch.arange(CAPACITY, device=screen.device)
    at = wide["scan"] + wide["stride"] * places
    live, key = cells.gather(1, at), cells.gather(1, at + wide["key"])
    wanted = cells.gather(1, wide["wanted_at"])
    matches = (live > 0) & ((key == wanted) | (wanted == 0))
    fits = (places < wide["capacity"]) & torch.where(rows.unsqueeze(-1), matches, live == 0)
    rank = fits.cumsum(-1)
    found = rank[:, -1]
    count = torch.where(rows, found, its["contents"])
    scroll = torch.where(scroll < count, scroll, 0)
    # ---- what stands where
    part = torch.where(rows, (count - scroll).clamp_max(PAGE), scroll // PAGE)
    items = embedding(screen * PARTS + part, tables.items)
    # The first that is listed stands behind what stays; of free places, the first one comes first.
    ahead = torch.where(rows, its["pinned"] - 1 - scroll, -1).unsqueeze(-1)
    seat, least = rank + ahead, torch.where(rows, its["pinned"], 0).unsqueeze(-1)
    seat = torch.where(fits & (seat >= least) & (seat < ELEMENTS), seat, ELEMENTS)
    listed = torch.zeros_like(items[:, :1]).expand(-1, ELEMENTS + 1).scatter(1, seat, places.expand_as(seat))
    free = torch.where(rows | (found == 0), -1, listed[:, 0])
    own = torch.where(rows.unsqueeze(-1), listed[:, :ELEMENTS], record.clamp_min(0).unsqueeze(-1))
    # ---- and what it says
    address = embedding(items * CAPACITY + own, tables.shows).flatten(1)
    number = (count + ZERO).to(cells.dtype).unsqueeze(-1)
    cells = cells.scatter(1, torch.full_like(number, tables.counted, dtype=torch.int64), number)
    values = cells.gather(1, address.long())
    texts = len(held.equal) // len(held.budget)
    index = values.long() + (instance * texts).unsqueeze(-1)
    equal = held.equal.index_select(0, index.flatten()).view_as(index)
    return {
        "cells": cells, "scroll": scroll, "count": count, "free": free, "items": items, "rows": own,
        "values": values.view(-1, ELEMENTS, VALUES + 1), "equal": equal.view(-1, ELEMENTS, VALUES + 1),
        "known": known | _any(equal).long(),
    }  # fmt: skip


def _any(bits: Tensor) -> Tensor:
    """Return the slots that any element's values equal, ``[n]``, from ``[n, ELEMENTS * (VALUES + 1)]``."""
    while bits.shape[-1] > VALUES + 1:
        one, other = bits.chunk(2, -1)
        bits = one | other
    one, two, three, _ = bits.unbind(-1)
    return one | two | three


def _tasks(task: str, instances: int, seed: int, part: int, parts: int, version: int) -> list[Task]:
    """Return instances of the templates that a word stands for, in order."""
    each = [(name, i) for name in named(task, parts) for i in range(instances)]
    return [get_task(name, seed, i, part=part, parts=parts, version=version) for name, i in each]


# ---- tables where they are needed ---------------------------------------------------------------------


def _moved(tables: Tables | Bank, device: torch.device) -> dict[str, object]:
    each = {f.name: getattr(tables, f.name) for f in fields(tables)}
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in each.items()}


@lru_cache(maxsize=16)
def tables_on(device: torch.device, version: int = 0) -> Tables:
    """Return the tables of the phone on a device, in a version of its screens."""
    return Tables(**_moved(compiled(version)[1], device))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _bank_on(
    task: str, instances: int, seed: int, part: int, parts: int, version: int, device: torch.device
) -> Bank:
    compiler, tables = compiled(version)
    tasks = _tasks(task, instances, seed, part, parts, version)
    return Bank(**_moved(bank(compiler, tables, tasks), device))  # type: ignore[arg-type]
