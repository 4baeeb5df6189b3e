"""The phone over tensors: thousands at once, by the same declarations as the readable one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, near, shown
from perdure.core.random import Rng
from perdure.envs.actions import Discrete
from perdure.envs.contract import Env
from perdure.envs.device.coding import OFF, ON, Coding, coding
from perdure.envs.device.declare import CAPACITY, ELEMENTS, PAGE, VALUES, WIDTH
from perdure.envs.device.tables import (
    ACTION,
    ADDS,
    EFFECT,
    NONE,
    ROW,
    SAVED,
    SAVES,
    SCREEN,
    Bank,
    Tables,
    answer_hash,
    bank,
    compiled,
    record_hash,
)
from perdure.envs.device.task import SLOTS, Task, get_task, templates
from perdure.envs.registry import environment


@environment("device")
@dataclass(frozen=True, repr=False)
class Device(Env):
    """Use a phone: 1 when the agent declares a task done and it is, else 0.

    An episode is an instance of a task, one of those there are, each as likely. It ends when the agent declares
    it complete or infeasible, or the task's budget of steps is used up. Actions and observations are numbered in
    :mod:`perdure.envs.device.coding`; both have the same shapes whatever the task.

    Parameters
    ----------
    task:
        The name of a template, that of an app for its templates, or ``"all"``.
    instances:
        How many instances of each template there are.
    seed:
        Of the instances.
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
    limit: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("instances", self.instances)
        check_whole("seed", self.seed, least=0)
        named(self.task)

    # ---- what there is --------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task]:
        """The instances, in order."""
        return [get_task(name, self.seed, i) for name in named(self.task) for i in range(self.instances)]

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
        held = self._bank(rng.seed.device)
        return self.start(rng.integers("instance", len(held.budget), n))

    def start(self, instance: Tensor) -> State:
        """Return copies at the start of the instances of some numbers, ``[n]``."""
        held, tables = self._bank(instance.device), tables_on(instance.device)
        zero = torch.zeros_like(instance)
        cells, slots = held.cells[instance], held.slots[instance]
        view = _seen(tables, cells, zero, zero, zero - 1, held.told[instance], slots)
        return {
            "cells": cells, "instance": instance, "screen": zero, "record": zero - 1, "focus": zero,
            "left": held.budget[instance], "digest": held.digest[instance], "answered": zero, **view,
        }  # fmt: skip

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        held, tables = self._bank(action.device), tables_on(action.device)
        instance, record = state["instance"], state["record"]
        slots, done = held.slots[instance], _columns(ACTION, tables.action[action])
        # ---- what is pointed at
        element, slot = done["element"].unsqueeze(-1), done["slot"].unsqueeze(-1)
        item, row = (state[name].gather(1, element).squeeze(-1) for name in ("items", "rows"))
        clicked = done["click"] > 0
        value = slots.gather(1, slot).squeeze(-1)
        able = state["known"].gather(1, slot).squeeze(-1)
        focus = state["focus"]
        typed = (done["type"] > 0) & able & tables.takes[tables.accepts[focus], value.clamp_min(0)]
        effect = torch.where(clicked, item, torch.where(typed, tables.typing[focus], 0))
        # ---- what is written
        does = _columns(EFFECT, tables.effect[effect])
        row = torch.where(clicked, row, record).clamp_min(0)
        adds = (does["target"] == ADDS) | ((does["target"] == SAVES) & (record < 0))
        lost = adds & (state["free"] < 0)
        place = torch.where(adds, state["free"].clamp_min(0), row)
        cells = _written(tables, state["cells"], effect, does, row, place, lost, value)
        digest = state["digest"] + _changed(tables, state["cells"], cells, does, place)
        opens = does["opens"]
        record = torch.where(opens == ROW, row, torch.where(opens == NONE, -1, record))
        record = torch.where((opens == SAVED) & ~lost, place, record)
        # ---- where it leads
        back = done["back"] > 0
        ahead = torch.maximum(does["go"], done["go"])
        moved = back | (ahead >= 0)
        screen = torch.where(ahead >= 0, ahead, state["screen"])
        screen = torch.where(back, tables.screen[state["screen"], SCREEN.index("up")], screen)
        focusing = clicked & (tables.typing[item] > 0)
        focus = torch.where(moved, 0, torch.where(focusing, item, focus))
        further = state["scroll"] + PAGE * done["scroll"]
        further = torch.where((further >= 0) & (further < state["count"]), further, state["scroll"])
        scroll = torch.where(moved, 0, further)
        # ---- what has been said
        text = state["values"][:, :, 0].gather(1, element).squeeze(-1).long()
        told = (done["answer_element"] > 0) & (item > 0)
        answered = state["answered"] + torch.where(told, answer_hash(text), 0)
        told = (done["answer_slot"] > 0) & able
        answered = answered + torch.where(told, answer_hash(value), 0)
        left = state["left"] - 1
        reached = (digest == held.goal[instance]) & (answered == held.answers[instance])
        view = _seen(tables, cells, screen, scroll, record, state["known"], slots)
        new = {
            "cells": cells, "instance": instance, "screen": screen, "record": record, "focus": focus,
            "left": left, "digest": digest, "answered": answered, **view,
        }  # fmt: skip
        return new, (reached & (done["complete"] > 0)).float(), (done["status"] > 0) | (left <= 0)

    def observe(self, state: State) -> Tensor:
        device = state["screen"].device
        held, tables, codes = self._bank(device), tables_on(device), coding()
        instance, known, values = state["instance"], state["known"], state["values"]
        slots, texts = held.slots[instance], len(codes.texts)
        app = tables.app[state["screen"]]
        one_hots = [(held.template[instance], len(codes.templates)), (app, len(codes.apps)),
                    (state["screen"], len(codes.screens))]  # fmt: skip
        scroll, count = state["scroll"], state["count"]
        head = [
            *((number.unsqueeze(-1) == torch.arange(n, device=device)).float() for number, n in one_hots),
            torch.where(known, slots, 0) / texts, known.float(),
            torch.stack([state["left"] / codes.longest, (scroll > 0).float(), (scroll + PAGE < count).float()], -1),
        ]  # fmt: skip
        items, shown = state["items"], values[:, :, :VALUES]
        equal = (shown.unsqueeze(-1) == slots[:, None, None]) & known[:, None, None]
        pinned = tables.screen[state["screen"], SCREEN.index("pinned")].unsqueeze(-1)
        scrolls = (count > PAGE).unsqueeze(-1) & (torch.arange(ELEMENTS, device=device) >= pinned) & (items > 0)
        focused = (items > 0) & (items == state["focus"].unsqueeze(-1))
        flags = torch.stack([values[:, :, VALUES] == ON, scrolls, focused], -1)
        table = torch.cat(
            [tables.looks[items], flags.float(), shown / texts, equal[:, :, 0].float(), equal[:, :, 1:].any(2).float()], -1
        )
        return torch.cat([*head, table.flatten(1)], -1)

    def _bank(self, device: torch.device) -> Bank:
        return _bank_on(self.task, self.instances, self.seed, device)


def named(task: str) -> list[str]:
    """Return the names of the templates that a word stands for: a template, an app's, or all."""
    every = templates()
    if task == "all":
        return list(every)
    found = [name for name, kind in every.items() if task in (name, kind.app_names[0])]
    if not found:
        words = sorted({"all", *every, *coding().apps})
        close = ", ".join(near(task, words)) or "all"
        raise PerdureError(f"unknown task {shown(task)}: did you mean {close}?")
    return found


# ---- parts of a step ----------------------------------------------------------------------------------


def _columns(names: tuple[str, ...], rows: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, rows.unbind(-1), strict=True))


def _written(
    tables: Tables, cells: Tensor, effect: Tensor, does: dict[str, Tensor], row: Tensor, place: Tensor,
    lost: Tensor, value: Tensor,
) -> Tensor:  # fmt: skip
    """Return the cells after an effect."""
    to, per_place, source, per_row, constant = tables.writes[effect].unbind(1)
    held = cells.gather(1, source + per_row * row.unsqueeze(-1)).long()
    written = torch.where(constant < 0, held, constant)
    written = torch.where(does["flip"].unsqueeze(-1) > 0, ON + OFF - written, written)
    written = torch.where(does["typed"].unsqueeze(-1) > 0, value.unsqueeze(-1), written)
    at = torch.where(lost.unsqueeze(-1), tables.cells - 1, to + per_place * place.unsqueeze(-1))
    return cells.scatter(1, at, written.to(cells.dtype))


def _changed(tables: Tables, before: Tensor, after: Tensor, does: dict[str, Tensor], place: Tensor) -> Tensor:
    """Return the difference that an effect makes to the hash of what counts."""
    salts = tables.salts[does["hash_type"]]
    at = (does["hash_base"] + does["hash_stride"] * place).unsqueeze(-1)
    at = at + torch.arange(WIDTH, device=at.device)
    return record_hash(after.gather(1, at).long(), salts) - record_hash(before.gather(1, at).long(), salts)


def _seen(
    tables: Tables, cells: Tensor, screen: Tensor, scroll: Tensor, record: Tensor, known: Tensor, slots: Tensor
) -> State:
    """Return what a screen shows: items, the places of their records, and their values."""
    device = screen.device
    its = {name: column.unsqueeze(-1) for name, column in _columns(SCREEN, tables.screen[screen]).items()}
    scroll, rows = scroll.unsqueeze(-1), its["has_rows"] > 0
    # ---- which records are listed, or which places are free
    places = torch.arange(CAPACITY, device=device)
    at = its["scan"] + its["stride"] * places
    live, key = cells.gather(1, at) > 0, cells.gather(1, at + its["key"])
    wanted = torch.where(its["wanted"] < 0, cells.gather(1, its["wanted_at"]), its["wanted"])
    fits = (places < its["capacity"]) & torch.where(rows, live & ((key == wanted) | (wanted == 0)), ~live)
    rank = fits.cumsum(-1)
    found = rank[:, -1:]
    count = torch.where(rows, found, its["contents"])
    scroll = torch.where(scroll < count, scroll, 0)
    seat = rank - 1 - torch.where(rows, scroll, 0)
    seat = torch.where(fits & (seat >= 0) & (seat < PAGE), seat, PAGE)
    listed = torch.zeros_like(seat[:, : PAGE + 1]).scatter(1, seat, places.expand_as(seat))
    free = torch.where(rows | (found == 0), -1, listed[:, :1])
    # ---- what stands where
    index = torch.arange(ELEMENTS, device=device)
    nth = index - its["pinned"]
    stays, entry = nth < 0, scroll + nth
    there = stays | ((nth < PAGE) & (entry < count))
    content = its["first_content"] + torch.where(rows, 0, entry)
    items = torch.where(there, torch.where(stays, its["first_pinned"] + index, content), 0)
    own = torch.where(rows & ~stays, listed.gather(1, nth.clamp(0, PAGE - 1)), record.unsqueeze(-1)).clamp_min(0)
    # ---- and what it says
    constant, counted, base, stride = tables.shown[items].unbind(-2)
    held = cells.gather(1, (base + stride * own.unsqueeze(-1)).flatten(1)).view_as(base)
    values = torch.where(constant < 0, held, constant + counted * count.unsqueeze(-1)).to(cells.dtype)
    texts = values[:, :, :VALUES].flatten(1).unsqueeze(-1)
    known = known | (texts == slots.unsqueeze(1)).any(1)
    return {
        "scroll": scroll.squeeze(-1), "count": count.squeeze(-1), "free": free.squeeze(-1), "items": items,
        "rows": own, "values": values, "known": known,
    }  # fmt: skip


# ---- tables where they are needed ---------------------------------------------------------------------


def _moved(tables: Tables | Bank, device: torch.device) -> dict[str, object]:
    each = {f.name: getattr(tables, f.name) for f in fields(tables)}
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in each.items()}


@lru_cache(maxsize=4)
def tables_on(device: torch.device) -> Tables:
    """Return the tables of the phone on a device."""
    return Tables(**_moved(compiled()[1], device))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _bank_on(task: str, instances: int, seed: int, device: torch.device) -> Bank:
    compiler, tables = compiled()
    tasks = [get_task(name, seed, i) for name in named(task) for i in range(instances)]
    return Bank(**_moved(bank(compiler, tables, tasks), device))  # type: ignore[arg-type]
