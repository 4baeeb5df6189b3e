"""An environment whose every function is looked at: what it is given, draws, and returns."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.batch import State
from perdure.core.layer_draws import GlobalDraw, NoDraws
from perdure.core.random import Rng, random_bits
from perdure.envs.actions import Continuous
from perdure.envs.contract import Env
from perdure.testing.promises import Broken, check_alike, check_finite


class OwnDrawsOnly(NoDraws):
    """Refuses draws from torch's global generator, and counts those from counters."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.draws += func is random_bits
        return super().__torch_dispatch__(func, types, args, kwargs)


@dataclass(frozen=True)
class Acted:
    """An environment that acts under observation.

    Parameters
    ----------
    env:
        The environment.
    drawing:
        Names of the functions that have drawn so far.
    """

    env: Env
    drawing: set[str] = field(default_factory=set)

    @cached_property
    def where(self) -> str:
        """The environment, as messages begin."""
        return str(self.env)

    def reset(self, rng: Rng, n: int) -> State:
        state: State = self._call("reset", rng, n)
        if not isinstance(state, dict) or not state:
            raise Broken(f"{self.where}: reset must return a dictionary of tensors; found {_kind(state)}")
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape[:1] != (n,):
                raise Broken(
                    f"{self.where}: reset must return tensors [{n}, ...]; found {_kind(value)} at {name!r}"
                )
        check_finite(self.where, "the state that reset returns", state)
        return state

    def observe(self, state: State) -> Tensor:
        n = len(next(iter(state.values())))
        seen: Tensor = self._call("observe", state)
        self._check("observe", "observations", seen, (n, *self.env.shape))
        low, high = self.env.bounds
        if not bool(((seen.float() >= low) & (seen.float() <= high)).all()):
            raise Broken(f"{self.where}: observations must lie within bounds; found one outside")
        return seen

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        found = self._call("step", state, action, rng)
        if not isinstance(found, tuple) or len(found) != 3:
            raise Broken(f"{self.where}: step must return a state, rewards and what has ended")
        new, reward, ended = found
        n = len(action)
        check_alike(self.where, "the state that step returns", state, new)
        check_finite(self.where, "the state that step returns", new)
        self._check("step", "rewards", reward, (n,))
        if not isinstance(ended, Tensor) or ended.dtype != torch.bool or ended.shape != (n,):
            raise Broken(f"{self.where}: step must return what has ended as [{n}] bool; found {_kind(ended)}")
        return new, reward, ended

    def actions(self, rng: Rng, n: int) -> Tensor:
        """Return actions of ``n`` copies, uniform over what can be done."""
        actions = self.env.actions
        if not isinstance(actions, Continuous):
            return rng.integers("action", actions.n, n, *actions.parts)
        low, high = torch.tensor(actions.low), torch.tensor(actions.high)
        return low + (high - low) * rng.uniform("action", n, actions.d)

    def _check(self, name: str, what: str, found: Any, shape: tuple[int, ...]) -> None:
        """Refuse numbers of another shape, whole ones, and such as are not finite."""
        if not isinstance(found, Tensor) or found.shape != shape or not found.is_floating_point():
            raise Broken(
                f"{self.where}: {name} must return {what} {list(shape)}, floating point; found {_kind(found)}"
            )
        check_finite(self.where, what, found)

    def _call(self, name: str, *arguments: Any) -> Any:
        leaves, structure = pytree.tree_flatten([a for a in arguments if isinstance(a, dict | Tensor)])
        copies = [v.clone() for v in leaves]
        before = _generators()
        watch = OwnDrawsOnly()
        astray = f"{self.where}: {name} must draw from `rng`; it draws from a global generator"
        try:
            with watch:
                found = getattr(self.env, name)(*arguments)
        except GlobalDraw as error:
            raise Broken(astray) from error
        if before != _generators():
            raise Broken(astray)
        if watch.draws:
            self.drawing.add(name)
        after, now = pytree.tree_flatten([a for a in arguments if isinstance(a, dict | Tensor)])
        untouched = now == structure and all(a is b for a, b in zip(leaves, after, strict=True))
        if not untouched or not all(torch.equal(a, b) for a, b in zip(leaves, copies, strict=True)):
            raise Broken(f"{self.where}: {name} must leave its arguments alone; it changes them")
        return found


def _generators() -> tuple[Any, ...]:
    """Return what Python's and NumPy's global generators would give next."""
    _, words, position, *_ = np.random.get_state()  # noqa: NPY002 (looked at, not drawn from)
    return random.getstate(), np.asarray(words).tobytes(), position


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {value.dtype}".replace("torch.", "")
