"""Worlds on the replica axis: rollouts that a phase learns from, and episodes that are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.batch import Rows
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.engine import host_worlds
from perdure.engine.data import Data
from perdure.engine.replicas import unshare
from perdure.scenarios.contract.host_world import HostWorld
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.phase import Phase

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.film import Camera

# Steps of scored episodes after which it is looked whether any goes on: a GPU is waited for each time.
LOOKED_AT = 50
# What scored episodes draw by: where they start, and their steps.
STARTS, STEPS = "episodes/", "episode/"


@dataclass(eq=False)
class Worlds:
    """The worlds of a phase's tasks, one after the other in each rollout; they go on from one to the next.

    Parameters
    ----------
    engine:
        Whose replicas act.
    tasks, worlds:
        The tasks of the phase, and their worlds.
    states:
        Where the worlds are, ``[replicas, ...]``; ``None`` before they begin.
    """

    engine: Engine
    tasks: tuple[int, ...]
    worlds: tuple[World, ...]
    states: list[Any]

    @classmethod
    def of(cls, engine: Engine, phase: Phase, parts: Sequence[Any]) -> Worlds:
        """Take up the worlds of a phase; refuse phases that worlds cannot be learned in."""
        worlds = tuple(part for part in parts if isinstance(part, World))
        who = f"the phase {phase.name!r} of {engine.strategy}"
        if len(worlds) < len(parts):
            raise PerdureError(f"{who} must take samples or worlds; found both among its tasks")
        if len({world.passes for world in worlds}) > 1:
            raise PerdureError(f"{who} needs worlds of one number of passes; found different ones")
        if phase.batch_per_task:
            raise PerdureError(f"{who} takes a batch of each task at each step, which worlds do not give yet")
        return cls(engine, phase.tasks, worlds, [None] * len(worlds))

    @property
    def passes(self) -> int:
        """How often a rollout is passed over."""
        return self.worlds[0].passes

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where the samples of each task begin and end in a rollout."""
        return tuple(pairwise(accumulate((len(world) for world in self.worlds), initial=0)))

    def play(self, replica: Any, step: int, moment: str = "") -> Data:
        """Let the present policy act for a rollout of each task; return what it lived through.

        At a boundary (``moment``) the worlds stay where they are: what is lived through from there is not
        part of training. Those on the host are entered anew for it.
        """
        view, found = replica.view(), []
        for i, (task, world) in enumerate(zip(self.tasks, self.worlds, strict=True)):
            before = self.states[i]
            kept = before
            if moment:
                # A rollout writes on the state that it is given. What is on the host cannot be copied.
                copied = before is not None and not isinstance(world, HostWorld)
                kept = pytree.tree_map(torch.clone, before) if copied else None
            rows, after = rollout(self.engine, view, task, world, kept, step, moment)
            self.states[i] = before if moment else after
            found.append(rows)
        rows = {k: self.engine.place.put(torch.cat([one[k] for one in found], 1)) for k in found[0]}
        return Data(rows, self.spans, own=True)


def rollout(
    engine: Engine, view: Any, task: int, world: World, state: Any, step: int, moment: str
) -> tuple[Rows, Any]:
    """Return the samples of each replica's rollout, ``[replicas, samples, ...]``, and the world after it."""
    if isinstance(world, HostWorld):
        return host_worlds.rollout(engine, view, task, world, state, step, moment)
    seed, current = engine.hyper["seed"], torch.tensor(task, device=engine.device)
    # Draws go by the step of training; a rollout has fewer steps than the gap between two.
    first, kind = step << 24, ("play", task)

    def begin(seed: Tensor, at: Tensor) -> Any:
        return world.begin(Rng(seed, at, f"{moment}world/"))

    def play(view: Any, state: Any, seed: Tensor, task: Tensor, at: Tensor) -> Any:
        rng = Rng(seed, at, f"{moment}play/")
        return world.play(engine.program.act(view, task, rng), state, rng)

    def close(view: Any, state: Any, trail: Rows, seed: Tensor, task: Tensor, at: Tensor) -> Rows:
        rng = Rng(seed, at, f"{moment}rows/")
        rows = world.rows(engine.program.act(view, task, rng), state, trail)
        return {**rows, "task": task.expand(len(rows["y"]))}

    def body(state: Any, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Any:
        return engine.mapper(play, view, state, seed, task, at, shared=(3, 4), kind=kind)

    def end(*arguments: Any) -> Any:
        return engine.mapper(close, *arguments, shared=(4, 5), kind=("rows", task))

    at = torch.tensor(first, device=engine.device)
    with torch.no_grad():
        if state is None:
            state = unshare(engine.mapper(begin, seed, at, shared=(1,), kind=("begin", task)))
        key = ("play", task, moment)
        state, trail = engine.records.loop(key, body, state, world.horizon, view, seed, current, first=first)
        lived = (view, state, trail, seed, current, at)
        rows = engine.records.run(("rows", task, moment), end, lived, first, donate=0, ahead=1)
    return rows, state


def episodes(engine: Engine, view: Any, task: int, world: World, camera: Camera | None = None) -> Tensor:
    """Mean score of a world's episodes, ``[replicas]``; the same ones at each evaluation.

    ``camera`` looks on, at the start and after each step.
    """
    if isinstance(world, HostWorld):
        return host_worlds.episodes(engine, view, task, world)
    current, seed = torch.tensor(task, device=engine.device), engine.hyper["seed"]

    def start(seed: Tensor, at: Tensor) -> Any:
        return world.start(Rng(seed, at, STARTS))

    def step(state: Any, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Any:
        rng = Rng(seed, at, STEPS)
        return world.step(engine.program.act(view, task, rng), state, rng)

    def body(state: Any, view: Any, seed: Tensor, task: Tensor, at: Tensor) -> Any:
        return engine.mapper(step, state, view, seed, task, at, shared=(3, 4), kind=("episode", index)), {}

    index = task
    with torch.no_grad():
        zero = torch.zeros((), dtype=torch.int64, device=engine.device)
        state = unshare(engine.mapper(start, seed, zero, shared=(1,), kind=("start", task)))
        look = None if camera is None else camera.begin(state)
        says = type(world).over is not World.over
        for first in range(0, world.limit, LOOKED_AT):
            times = min(LOOKED_AT, world.limit - first)
            state, _ = engine.records.loop(
                ("episode", task), body, state, times, view, seed, current, first=first, look=look
            )
            if says and bool(engine.mapper(world.over, state, kind=("over", task)).all()):
                break
        scores: Tensor = engine.mapper(world.score, state, kind=("result", task))
        if camera is not None:
            camera.end(scores)
    return scores.mean(1)
