"""Copies of an environment that are run step by step from outside, each with draws of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.light import Light
from perdure.core.random import Rng, random_bits
from perdure.envs.contract import Env

Array = np.ndarray[Any, Any]

# For so many episodes of each copy the starts are drawn at once, if they are not more numbers than this.
AHEAD, MOST = 32, 1 << 22


class Copies:
    """Copies of an environment, side by side: each lives through the same alone as among thousands.

    A copy's draws are a function of its key, its episode and the step of it. Starts are drawn for many
    episodes ahead: a draw is some hundred operations, however many numbers it gives. Where steps draw too,
    they are mapped over the copies, so that each has numbers of its own.

    Parameters
    ----------
    env:
        The environment.
    n:
        How many copies.
    """

    def __init__(self, env: Env, n: int) -> None:
        self.env, self.n = env, check_whole("the number of copies", n)
        self.key, self.age = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.episode = np.full(n, -1)
        self.state: State = {}
        self._starts: State = {}
        self._first = self.episode
        self._rng = Rng(torch.tensor(0), torch.tensor(0))
        start = self._draw(self.key[:1], self.age[:1])
        self.ahead = max(1, min(AHEAD, MOST // (n * sum(v.numel() for v in start.values()))))
        self.draws = self._steps_draw(start)

    @torch.no_grad()
    def _steps_draw(self, start: State) -> bool:
        """Tell whether a step draws: one that has no branch on a value always does, or never."""
        actions = self.env.actions
        action = actions.best(torch.zeros(1, actions.outputs))
        with Noting() as noted:
            self.env.step(start, action, self._rng)
        return noted.draws > 0

    def seed(self, rows: Array, keys: Array) -> None:
        """Give some copies new keys; the next episode of each is its first with it."""
        self.key[rows] = keys
        self.episode[rows] = -1
        self._starts = {}

    @torch.no_grad()
    def start(self, rows: Array) -> None:
        """Begin the next episode of some copies, told by their numbers."""
        self.episode[rows] += 1
        self.age[rows] = 0
        behind = self.episode[rows] - self._first[rows]
        if not self._starts or behind.max() >= self.ahead:
            self._first = self.episode + 1
            self._first[rows] -= 1
            episodes = (self._first[:, None] + np.arange(self.ahead)).ravel()
            self._starts = self._draw(self.key.repeat(self.ahead), episodes)
            behind = np.zeros_like(rows)
        chosen = torch.from_numpy(rows * self.ahead + behind)
        fresh = {k: v.index_select(0, chosen) for k, v in self._starts.items()}
        if len(rows) < self.n:
            place = torch.from_numpy(rows)
            fresh = {k: v.index_copy(0, place, fresh[k]) for k, v in self.state.items()}
        self.state = fresh

    @torch.no_grad()
    def _draw(self, keys: Array, episodes: Array) -> State:
        """Return the starts of episodes, each by its own key and number."""

        def one(key: Tensor, episode: Tensor) -> State:
            return self.env.reset(Rng(key, episode, "gym/start/"), 1)

        return _rows(vmap(one)(torch.from_numpy(keys), torch.from_numpy(episodes)))

    @torch.no_grad()
    def step(self, action: Tensor) -> tuple[Array, Array]:
        """Go one step on; return the rewards, float64, and what has ended, in arrays of their own."""
        if self.draws:
            at = torch.from_numpy((self.episode << 32) + self.age)
            self.state, reward, ended = self._step_apart(torch.from_numpy(self.key), at, action)
        else:
            self.state, reward, ended = self.env.step(self.state, action, self._rng)
        self.age += 1
        return reward.numpy().astype(np.float64), ended.numpy().copy()

    def _step_apart(self, key: Tensor, at: Tensor, action: Tensor) -> tuple[State, Tensor, Tensor]:
        def one(key: Tensor, at: Tensor, state: State, action: Tensor) -> Any:
            alone = {k: v.unsqueeze(0) for k, v in state.items()}
            return self.env.step(alone, action.unsqueeze(0), Rng(key, at, "gym/step/"))

        state, reward, ended = vmap(one)(key, at, self.state, action)
        return _rows(state), reward.squeeze(1), ended.squeeze(1)

    @torch.no_grad()
    def observe(self) -> Array:
        """Return what all copies show, float32, in an array of its own."""
        return self.env.observe(self.state).numpy().astype(np.float32)


def _rows(state: State) -> State:
    """Return the one copy of each mapped function as a row."""
    return {k: v.flatten(0, 1) for k, v in state.items()}


class Noting(Light):
    """Counts the counter-based draws among operations."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.draws += func is random_bits
        return func(*args, **dict(kwargs or {}))
