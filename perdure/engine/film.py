"""Pictures of scored episodes: a camera looks on while a stage is scored, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.analysis.film import Strip, check_frames, moments
from perdure.core.batch import State
from perdure.core.errors import PerdureError, said
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.phase import Phase

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

# Tasks beyond which no pictures are made: nobody would look at them, and a report would be megabytes.
MANY = 20
# Bytes of the states that are kept while a task is scored.
MOST_KEPT = 1 << 29


@dataclass(eq=False)
class Camera:
    """Looks at the scored episodes of some replicas, as scoring plays them.

    Pictures are made of the episode whose return is the median, the lower of two in the middle, the first of
    those that are alike: one that went unusually well or badly would tell the wrong story.

    Parameters
    ----------
    world:
        Whose episodes.
    replicas:
        Which replicas.
    failure:
        Why there are no pictures, where there are none.
    """

    world: World
    replicas: list[int]
    failure: str = ""
    _seen: list[list[State]] = field(default_factory=list)
    _scores: list[list[float]] = field(default_factory=list)

    def begin(self, state: State) -> Callable[[State], None] | None:
        """Look at the start of the episodes; returns what is to be shown the state after each step.

        ``None`` where the world has no pictures: nothing is kept then.
        """
        self._seen = [[] for _ in self.replicas]
        self._try(lambda: self._look(state))
        self._try(self._check)
        return None if self.failure else self._go_on

    def _check(self) -> None:
        first = self._seen[0][0]
        check_frames(self.world.frames(of_episode(first, 0)).cpu().numpy())
        each = sum(v.nbytes for v in pytree.tree_leaves(first)) * len(self.replicas)
        if each * (self.world.limit + 1) > MOST_KEPT:
            raise PerdureError(
                f"the states of all steps would take {each * (self.world.limit + 1) >> 20} MB, more than "
                f"{MOST_KEPT >> 20}"
            )

    def _go_on(self, state: State) -> None:
        self._try(lambda: self._look(state))

    def _look(self, state: State) -> None:
        for replica, seen in zip(self.replicas, self._seen, strict=True):
            one = pytree.tree_map(lambda v, r=replica: v[r], state)
            # The next step writes on what it is given.
            seen.append(pytree.tree_map(torch.clone, self.world.glimpse(one)))

    def end(self, scores: Tensor) -> None:
        """Take the scores of the episodes, ``[replicas, episodes]``."""
        self._scores = scores[self.replicas].tolist()

    def strips(self, stage: int, task: int) -> list[Strip]:
        """Return the moments of the episode of each replica, as pictures; none where that failed."""
        found: list[Strip] = []

        def make() -> None:
            for seen, scores in zip(self._seen, self._scores, strict=True):
                episode = int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])
                one = [of_episode(glimpse, episode) for glimpse in seen]
                steps = moments(length(one))
                frames = self.world.frames(chosen(one, steps)).cpu().numpy()
                found.append(Strip.of(stage, task, episode, steps, scores[episode], frames))

        self._try(make)
        return [] if self.failure else found

    def _try(self, work: Callable[[], Any]) -> None:
        """Do something; what is wrong with pictures must not cost a result, and is told."""
        if not self.failure:
            try:
                work()
            except Exception as error:
                self.failure = said(error)


def of_episode(glimpse: State, episode: int) -> State:
    """Return what was seen of one episode, in one row."""
    return pytree.tree_map(lambda v: v[episode : episode + 1], glimpse)  # type: ignore[no-any-return]


def length(seen: list[State]) -> int:
    """Return the steps of an episode, given a glimpse of its start and one after each step."""
    on = torch.cat([one["on"] for one in seen[:-1]])
    return int((on > 0).sum())


def chosen(seen: list[State], steps: list[int]) -> State:
    """Return the glimpses at some steps, one after the other."""
    some = [seen[step] for step in steps]
    return pytree.tree_map(lambda *v: torch.cat(v), *some)  # type: ignore[no-any-return]


@dataclass
class Film:
    """What was filmed of a run so far.

    Parameters
    ----------
    points:
        Strips of each point of the grid, as JSON holds them.
    left_out:
        Why some are missing, each reason once.
    """

    points: list[list[dict[str, Any]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def cameras(self, engine: Engine, phase: Phase, last: bool) -> Mapping[int, Camera]:
        """Return cameras for a stage: for the task that it adds, after the last stage for all tasks."""
        worlds = {t: task.test for t, task in enumerate(engine.stream) if isinstance(task.test, World)}
        if len(worlds) > MANY:
            self._miss(f"the stream has {len(worlds)} tasks, and pictures are made of up to {MANY}")
            return {}
        # The first seed's replica at each point of the grid.
        firsts = [i for i, seed in enumerate(engine.seeds) if seed == engine.seeds[0]]
        return {t: Camera(world, firsts) for t, world in worlds.items() if last or t == phase.tasks[-1]}

    def take(self, stage: int, cameras: Mapping[int, Camera]) -> None:
        """Take what cameras saw after a stage."""
        for task, camera in cameras.items():
            found = camera.strips(stage, task)
            self.points = self.points or [[] for _ in found]
            for point, strip in zip(self.points, found, strict=False):
                point.append(strip.plain())
            if camera.failure:
                self._miss(camera.failure)

    def _miss(self, reason: str) -> None:
        self.left_out = list(dict.fromkeys([*self.left_out, reason]))

    def of_point(self, point: int) -> Film:
        """Return what was filmed of one point of the grid."""
        return Film(self.points[point : point + 1], self.left_out)

    def extras(self) -> dict[str, Any]:
        """Return what results keep of the first point: nothing where there was nothing to look at."""
        found = {"strips": self.points[0] if self.points else [], "left_out": self.left_out}
        film = {key: value for key, value in found.items() if value}
        return {"film": film} if film else {}
