"""Worlds on the host: the policies of all replicas answer in one go, their copies are stepped one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from perdure.core.batch import Rows
from perdure.core.random import Rng
from perdure.scenarios.contract.host_world import Array, HostWorld, OnHost
from perdure.scenarios.contract.world import Act

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

# What is done, of the policy, the observations and the draws.
Doing = Callable[[Act, Tensor, Rng], Tensor]


def rollout(
    engine: Engine,
    view: Any,
    task: int,
    world: HostWorld,
    copies: list[OnHost] | None,
    step: int,
    moment: str,
) -> tuple[Rows, list[OnHost]]:
    """Return the samples of each replica's rollout, ``[replicas, samples, ...]``, and its copies after it."""
    seed, current = engine.hyper["seed"], torch.tensor(task, device=engine.device)
    first = step << 24  # as in :func:`perdure.engine.worlds.rollout`
    if copies is None:
        copies = entered(world, Rng(seed.cpu(), torch.tensor(first), f"{moment}world/"), world.copies)
    all_of_them = np.ones((len(copies), world.copies), dtype=np.bool_)
    trail: dict[str, Array] = {}
    answers = acted(engine, view, task, world.choose, copies, ("play", task, moment), f"{moment}play/", first)
    for t in range(world.horizon):
        x, action = next(answers)
        row = {"x": x, "action": action, **_step(copies, action, all_of_them)}
        for one, over in zip(copies, row["over"], strict=True):
            one.restart(over)
        trail = trail or {k: np.empty((len(v), world.horizon, *v.shape[1:]), v.dtype) for k, v in row.items()}
        for k, v in row.items():
            trail[k][:, t] = v

    def close(view: Any, trail: Rows, seed: Tensor, task: Tensor, at: Tensor) -> Rows:
        rng = Rng(seed, at, f"{moment}rows/")
        rows = world.rows(engine.program.act(view, task, rng), {}, trail)
        return {**rows, "task": task.expand(len(rows["y"]))}

    def end(*arguments: Any) -> Any:
        return engine.mapper(close, *arguments, shared=(3, 4), kind=("rows", task))

    lived = {k: torch.from_numpy(v).to(engine.device) for k, v in trail.items()}
    at = torch.tensor(first, device=engine.device)
    with torch.no_grad():
        rows = engine.records.run(
            ("rows", task, moment), end, (view, lived, seed, current, at), first, donate=0, ahead=1
        )
    if moment:
        _close(copies)
    return rows, copies


def episodes(engine: Engine, view: Any, task: int, world: HostWorld) -> Tensor:
    """Mean return of a world's episodes, ``[replicas]``; the same ones at each evaluation."""
    zero = torch.zeros((), dtype=torch.int64)
    rng = Rng(engine.hyper["seed"].cpu(), zero, "episodes/").scoped(world.part)
    copies = entered(world, rng, world.episodes)
    going = np.ones((len(copies), world.episodes), dtype=np.bool_)
    total = np.zeros(going.shape)

    def best(act: Act, x: Tensor, rng: Rng) -> Tensor:
        return world.best(act, x)

    answers = acted(engine, view, task, best, copies, ("episode", task), "episode/", 0)
    for _ in range(world.limit):
        row = _step(copies, next(answers)[1], going)
        total += row["reward"]
        going &= ~row["over"]
        if not going.any():
            break
    _close(copies)
    return torch.from_numpy(total.mean(1)).to(engine.device, torch.float32)


def entered(world: HostWorld, rng: Rng, n: int) -> list[OnHost]:
    """Return ``n`` copies for each replica, whose seeds are drawn by what ``rng`` says."""
    return [world.enter(seeds) for seeds in rng.bits("copies", n).tolist()]


def acted(
    engine: Engine, view: Any, task: int, doing: Doing, copies: list[OnHost], key: Any, scope: str, first: int
) -> Iterator[tuple[Array, Array]]:
    """Yield what the copies show at that time and what the policies do then, ``[replicas, n, ...]`` each.

    The policies' part is mapped and recorded under ``key``; draws go by steps that count from ``first``.
    """
    seed, current = engine.hyper["seed"], torch.tensor(task, device=engine.device)

    def choose(x: Tensor, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Tensor:
        rng = Rng(seed, at, scope)
        return doing(engine.program.act(view, task, rng), x, rng)

    def mapped(x: Tensor, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Tensor:
        found: Tensor = engine.mapper(choose, x, view, seed, task, at, shared=(3, 4), kind=key)
        return found

    def body(carry: Rows, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Rows:
        return {**carry, "action": mapped(carry["x"], view, seed, task, at)}

    action: Tensor | None = None
    step = first
    while True:
        seen = np.stack([one.seen for one in copies])
        # A copy: its memory is given up to the record.
        x = torch.tensor(seen, device=engine.device)
        at = torch.tensor(step, device=engine.device)
        with torch.no_grad():
            if action is None:
                # Once for the shapes: an action is the world's own affair.
                action = torch.zeros_like(mapped(x, view, seed, current, at))
            arguments = ({"x": x, "action": action}, view, seed, current, at)
            action = engine.records.run(key, body, arguments, step)["action"]
        step += 1
        yield seen, action.cpu().numpy().copy()


def _step(copies: list[OnHost], action: Array, going: Array) -> dict[str, Array]:
    found = [one.step(a, on) for one, a, on in zip(copies, action, going, strict=True)]
    return {k: np.stack([row[k] for row in found]) for k in found[0]}


def _close(copies: list[OnHost]) -> None:
    for one in copies:
        one.close()
