"""Episodes that a trained policy plays, to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from perdure.analysis.film import MOMENTS, Frames, check_frames, moments
from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.layer_draws import NoDraws
from perdure.core.random import Rng
from perdure.engine.film import chosen, length, of_episode
from perdure.engine.replicas import Replica
from perdure.engine.step import Program
from perdure.engine.worlds import STARTS, STEPS
from perdure.scenarios.contract.world import World

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pictures that are made in one go.
AT_ONCE = 64
Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Episode:
    """An episode of so many steps T, from its start to its end.

    Parameters
    ----------
    observations:
        What the policy saw before each step, ``[T, ...]``.
    actions:
        What it did, ``[T]`` or ``[T, d]``.
    rewards:
        What that brought, ``[T]``; their sum is the return.
    """

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float64]
    _world: World
    _seen: list[State]

    def __repr__(self) -> str:
        return f"Episode: {len(self)} steps, return {self.rewards.sum():g}"

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def frames(self) -> Frames:
        """Pictures of the start and of what followed each step, ``[T + 1, height, width, 3]`` bytes.

        Refused where the environment does not say what it looks like.
        """
        return self._frames(list(range(len(self) + 1)))

    def _frames(self, steps: list[int]) -> Frames:
        parts = [steps[i : i + AT_ONCE] for i in range(0, len(steps), AT_ONCE)]
        return np.concatenate(
            [check_frames(self._world.frames(chosen(self._seen, part)).cpu().numpy()) for part in parts]
        )

    def gif(self, path: Path, rate: float = 25.0) -> None:
        """Write the episode as a GIF that plays again and again, ``rate`` pictures a second."""
        from perdure.analysis.plots.film import write_gif

        write_gif(self.frames, path, rate)

    def filmstrip(self, path: Path | None = None, count: int = MOMENTS) -> Figure:
        """Draw ``count`` moments of the episode side by side, and write them where there is a path."""
        from perdure.analysis.plots.film import plot_filmstrip

        steps = moments(len(self), check_whole("count", count, least=2))
        title = f"{len(self)} steps, return {self.rewards.sum():.4g}"
        return plot_filmstrip({title: self._frames(steps)}, path, {title: steps})


def play(program: Program, one: Replica, seed: int, task: int, world: World, episodes: int) -> list[Episode]:
    """Play the first scored episodes of a world with the policy of one replica, without a leading axis."""
    device = next(iter(one.params.values())).device
    who, index = torch.tensor(seed, device=device), torch.tensor(task, device=device)
    with torch.no_grad(), NoDraws():
        state = world.start(Rng(who, torch.zeros_like(who), STARTS))
        check_whole("episodes", episodes, most=len(world.score(state)))
        seen, rows = [world.glimpse(state)], []
        for at in torch.arange(world.limit, device=device):
            rng = Rng(who, at, STEPS)
            state, row = world.watch(program.act(one, index, rng), state, rng)
            rows.append({k: v[:episodes].cpu().numpy() for k, v in row.items()})
            seen.append(world.glimpse(state))
            if not bool(seen[-1]["on"][:episodes].any()):
                break
    return [
        _episode(world, [of_episode(one, i) for one in seen], [{k: v[i] for k, v in r.items()} for r in rows])
        for i in range(episodes)
    ]


def _episode(world: World, seen: list[State], rows: list[dict[str, npt.NDArray[Any]]]) -> Episode:
    """Keep what happened until the end of an episode: others may go on for longer."""
    steps = length(seen)
    lived = {k: np.stack([row[k] for row in rows[:steps]]) for k in ("x", "action", "reward")}
    rewards = lived["reward"].astype(np.float64)
    return Episode(lived["x"], lived["action"], rewards, world, seen[: steps + 1])
