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
from perdure.envs.in_numpy import in_numpy
from perdure.envs.numpy_rules import Array

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
        # The episodes whose starts are the first drawn, and how many starts have been taken since.
        self._first, self._taken = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._starts: list[Array] = []
        self.state: list[Array] = []
        one = self._draw(self.key[:1], self.age[:1])
        self._names, self.ahead = list(one), max(1, min(AHEAD, MOST // (n * _numbers(one))))
        self._note(one)

    def _note(self, one: State) -> None:
        """Write step and observation down for so many copies, given the start of one."""
        start = {k: v.expand(self.n, *v.shape[1:]).contiguous() for k, v in one.items()}
        action = self.env.actions.best(torch.zeros(self.n, self.env.actions.outputs))
        self._draws = self._steps_draw(start, action)
        keys = torch.from_numpy(self.key)
        self._step = in_numpy(self._move, [keys, keys, action, *start.values()])
        self._look = in_numpy(self._see, [*start.values()])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_step", "_look")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._note(self._draw(self.key[:1], self.age[:1]))

    # ---- what is noted once ---------------------------------------------------------------------------

    @torch.no_grad()
    def _draw(self, keys: Array, episodes: Array) -> State:
        """Return the starts of episodes, each by its own key and number."""

        def one(key: Tensor, episode: Tensor) -> State:
            return self.env.reset(Rng(key, episode, "gym/start/"), 1)

        return _rows(vmap(one)(torch.from_numpy(keys), torch.from_numpy(episodes)))

    @torch.no_grad()
    def _steps_draw(self, start: State, action: Tensor) -> bool:
        """Tell whether a step draws: one that has no branch on a value always does, or never."""
        with Noting() as noted:
            self.env.step(start, action, _none())
        return noted.draws > 0

    def _move(self, key: Tensor, at: Tensor, action: Tensor, *values: Tensor) -> list[Tensor]:
        """Return the state after a step, the rewards, and what has ended."""
        state = dict(zip(self._names, values, strict=True))
        if self._draws:
            new, reward, ended = vmap(self._move_one)(key, at, state, action)
            new, reward, ended = _rows(new), reward.flatten(), ended.flatten()
        else:
            new, reward, ended = self.env.step(state, action, _none())
        return [*(new[name] for name in self._names), reward, ended]

    def _move_one(self, key: Tensor, at: Tensor, state: State, action: Tensor) -> Any:
        alone = {k: v.unsqueeze(0) for k, v in state.items()}
        return self.env.step(alone, action.unsqueeze(0), Rng(key, at, "gym/step/"))

    def _see(self, *values: Tensor) -> list[Tensor]:
        return [self.env.observe(dict(zip(self._names, values, strict=True)))]

    # ---- what is done each time -----------------------------------------------------------------------

    def seed(self, rows: Array, keys: Array) -> None:
        """Give some copies new keys; the next episode of each is its first with it."""
        self._begin_block()
        self.key[rows], self._first[rows] = keys, 0

    def _begin_block(self) -> None:
        self._first += self._taken
        self._taken[:] = 0
        self._starts = []

    def start(self, rows: Array) -> None:
        """Begin the next episode of some copies, told by their numbers."""
        taken = self._taken[rows]
        if not self._starts or taken.max() >= self.ahead:
            self._begin_block()
            episodes = (self._first[:, None] + np.arange(self.ahead)).ravel()
            self._starts = [v.numpy() for v in self._draw(self.key.repeat(self.ahead), episodes).values()]
            taken = self._taken[rows]
        self._taken[rows] = taken + 1
        self.age[rows] = 0
        chosen = rows * self.ahead + taken
        if len(rows) == self.n:
            self.state = [v[chosen] for v in self._starts]
            return
        # What a step returns may be memory of others: it is copied before it is written on.
        self.state = [v.copy() for v in self.state]
        for value, starts in zip(self.state, self._starts, strict=True):
            value[rows] = starts[chosen]

    def step(self, action: Array) -> tuple[Array, Array]:
        """Go one step on; return the rewards, float64, and what has ended, in arrays of their own."""
        # A copy that has ended goes on to where nobody looks: numbers there may be none.
        with np.errstate(all="ignore"):
            at = ((self._first + self._taken) << 32) + self.age if self._draws else self.key
            *self.state, reward, ended = self._step(self.key, at, action, *self.state)
        self.age += 1
        return reward.astype(np.float64), ended.copy()

    def observe(self) -> Array:
        """Return what all copies show, float32, in an array of its own."""
        return self._look(*self.state)[0].astype(np.float32)

    def tensors(self) -> State:
        """Return the state of all copies as the environment has it."""
        return {k: torch.from_numpy(v.copy()) for k, v in zip(self._names, self.state, strict=True)}


def _none() -> Rng:
    """Return the numbers of a step that draws none."""
    return Rng(torch.tensor(0), torch.tensor(0))


def _rows(state: State) -> State:
    """Return the one copy of each mapped function as a row."""
    return {k: v.flatten(0, 1) for k, v in state.items()}


def _numbers(state: State) -> int:
    return sum(v.numel() for v in state.values())


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
