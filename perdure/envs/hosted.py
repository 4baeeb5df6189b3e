"""Environments of other packages in Gymnasium's form, stepped on the host, one copy after the other."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError, shown
from perdure.core.random import Rng
from perdure.envs.actions import Actions, Continuous, Discrete, PaddedDiscrete
from perdure.envs.contract import Env
from perdure.envs.host_parts import EXTRAS, Physics, check_lasts, imported, set_attribute
from perdure.envs.numpy_rules import Array

# Steps after which two environments of one seed must still show the same.
TRIED = 8


@dataclass(frozen=True, repr=False)
class Hosted(Env):
    """An environment that Gymnasium knows: its spaces for the policy, and copies of it on the host.

    Observations are flattened to float32, ``[d]``; those that are one of ``n`` things become ``[n]``, a 1 at
    the thing's place. It is no function of tensors: what asks it for one is refused.

    Parameters
    ----------
    id:
        As ``gymnasium.make`` takes it; ``"minigrid:MiniGrid-Empty-5x5-v0"`` imports ``minigrid`` before.
    options:
        Keyword arguments of the environment, names and values.
    physics:
        Attributes of the environment that are set once it is made, paths and values: ``("gravity", 20.0)``,
        ``("model.opt.gravity", (0.0, 0.0, -5.0))``. They must be there, and be numbers or arrays.
    wrapper:
        Of the environment, ``"module:name"``; ``None`` for none.
    scale:
        Observations are multiplied by it.
    width, most:
        Length that observations are padded to with zeros, and outputs of a policy for its actions, of which
        those of the environment are there (:class:`perdure.envs.PaddedDiscrete`); by default what it has.
    """

    name: ClassVar[str] = "gymnasium"
    id: str
    options: tuple[tuple[str, Any], ...] = ()
    physics: Physics = ()
    wrapper: str | None = None
    scale: float = 1.0
    width: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("scale", self.scale, ends="()")
        if self.width is not None:
            check_whole("width", self.width, least=self._wide)
        if self.most is not None and not isinstance(self.actions, Discrete):
            raise PerdureError(f"`most` is for one of several actions; found {self.actions}")

    # ---- what the policy sees -------------------------------------------------------------------------

    @cached_property
    def _spaces(self) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        env = self.make()
        env.close()
        return env.observation_space, env.action_space

    def joins(self, other: Hosted) -> bool:
        """Tell whether both are of one size, or may be padded to one.

        That may rows of numbers, or things, with one of several actions. Pictures of different sizes may not:
        flattened, one pixel would be at another place in each.
        """
        if self.form == other.form:
            return True
        seen, others = (one._spaces[0] for one in (self, other))
        alike = type(seen) is type(others) and (seen.shape == others.shape or len(seen.shape or ()) == 1)
        return alike and all(isinstance(one.actions, Discrete) for one in (self, other))

    @cached_property
    def form(self) -> str:
        """What is observed and done, in words."""
        seen = self._spaces[0]
        discrete = isinstance(seen, spaces.Discrete)
        kind = f"Discrete({self.shape[0]})" if discrete else f"Box{list(self._box(seen).shape)}"
        return f"observations {kind} and actions {self.actions}"

    @cached_property
    def _wide(self) -> int:
        """How many numbers the environment shows."""
        seen = self._spaces[0]
        return int(seen.n) if isinstance(seen, spaces.Discrete) else math.prod(self._box(seen).shape)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (self._wide if self.width is None else self.width,)

    @cached_property
    def actions(self) -> Actions:
        done = self._spaces[1]
        if isinstance(done, spaces.Discrete):
            n = int(done.n)
            return Discrete(n) if self.most in (None, n) else PaddedDiscrete(n, self.most)
        if isinstance(done, spaces.Box) and np.issubdtype(done.dtype, np.floating) and done.shape != (0,):
            return Continuous(*(tuple(map(float, end.ravel())) for end in (done.low, done.high)))
        raise PerdureError(f"{self.id} needs actions Discrete or Box of real numbers; found {shown(done)}")

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        seen = self._spaces[0]
        if isinstance(seen, spaces.Discrete):
            return torch.zeros(self.shape), torch.ones(self.shape)
        box = self._box(seen)
        with np.errstate(over="ignore"):  # the largest number of more bits is infinite
            low, high = (np.asarray(end, np.float32).ravel() * self.scale for end in (box.low, box.high))
        behind = self.shape[0] - self._wide
        low, high = np.pad(low, (0, behind)), np.pad(high, (0, behind), constant_values=1.0)
        return torch.from_numpy(low), torch.from_numpy(high)

    def _box(self, seen: spaces.Space[Any]) -> spaces.Box:
        if isinstance(seen, spaces.Box) and 0 not in seen.shape:
            return seen
        parts = f" of {', '.join(map(str, seen))}" if isinstance(seen, spaces.Dict) else ""
        raise PerdureError(
            f"{self.id} needs observations Box or Discrete; found {type(seen).__name__}{parts}: give a "
            "wrapper that shows such, wrapper='minigrid.wrappers:ImgObsWrapper' or "
            "'gymnasium.wrappers:FlattenObservation'"
        )

    def flat(self, seen: Any) -> Array:
        """Return an observation as the policy sees it, float32 ``[d]``."""
        space = self._spaces[0]
        if isinstance(space, spaces.Discrete):
            one = np.zeros(self.shape, dtype=np.float32)
            one[int(seen) - int(space.start)] = self.scale
            return one
        row = np.asarray(seen, dtype=np.float32).ravel() * np.float32(self.scale)
        return np.pad(row, (0, self.shape[0] - self._wide)) if self.width else row

    @cached_property
    def undone(self) -> Callable[[Array], Any]:
        """What brings a row of actions into the form that the environment takes."""
        space = self._spaces[1]
        if isinstance(space, spaces.Discrete):
            start = int(space.start)
            return lambda row: int(row) + start
        assert isinstance(space, spaces.Box)
        low, high, shape, kind = space.low, space.high, space.shape, space.dtype
        # A policy that has diverged must not end the run of others: NaN becomes 0.
        return lambda row: np.clip(np.nan_to_num(row).reshape(shape), low, high).astype(kind)

    # ---- on the host ----------------------------------------------------------------------------------

    def make(self) -> gymnasium.Env[Any, Any]:
        """Make one copy, wrapped, its physics set; episodes are cut off after ``limit`` steps."""
        try:
            env: gymnasium.Env[Any, Any] = gymnasium.make(
                self.id, self.limit, disable_env_checker=True, **dict(self.options)
            )
        except gymnasium.error.DependencyNotInstalled as error:
            raise PerdureError(
                f"{shown(self.id)} needs a package, such as an extra of Perdure's installs "
                f"({', '.join(EXTRAS)}): {error}"
            ) from error
        except Exception as error:  # whatever an environment stumbles over, it is what it was given
            raise PerdureError(f"cannot make {shown(self.id)}: {type(error).__name__}: {error}") from error
        for path, value in self.physics:
            set_attribute(env, self.id, path, value)
        if self.wrapper is None:
            return env
        try:
            return imported(self.wrapper)(env)  # type: ignore[no-any-return]
        except PerdureError:
            raise
        except Exception as error:
            raise PerdureError(
                f"cannot wrap {self.id} in {self.wrapper}: {type(error).__name__}: {error}"
            ) from error

    def check(self) -> None:
        """Refuse spaces that do not fit, physics that do not last, and what its seed does not decide."""
        shape, _ = self.shape, self.actions
        seen = []
        for env in (self.make(), self.make()):
            env.action_space.seed(0)
            first = np.asarray(self.flat(env.reset(seed=0)[0]))
            check_lasts(env, self.id, self.physics)
            rows = [first]
            for _ in range(TRIED):
                after, _, ended, cut, _ = env.step(env.action_space.sample())
                rows.append(self.flat(after if not (ended or cut) else env.reset()[0]))
            env.close()
            if any(row.shape != shape or not np.isfinite(row).all() for row in rows):
                raise PerdureError(
                    f"{self.id} must show finite observations {list(shape)}; found {list(first.shape)}, or "
                    "some that are not finite"
                )
            seen.append(np.stack(rows))
        if not np.array_equal(seen[0], seen[1]):
            raise PerdureError(
                f"{self.id} must show the same whenever it is reset with the same seed; found two that "
                "differ: it draws from elsewhere than its `np_random`"
            )

    def copies(self, seeds: Sequence[int]) -> HostCopies:
        """Return as many copies as there are seeds, as their episodes start."""
        return HostCopies(self, seeds)

    # ---- what tensors would do ------------------------------------------------------------------------

    def reset(self, rng: Rng, n: int) -> State:
        self._refuse()

    def observe(self, state: State) -> Tensor:
        self._refuse()

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PerdureError(f"expected an environment over tensors; {self.id} is stepped on the host")


class HostCopies:
    """Copies of an environment on the host, each with a generator of its own.

    Parameters
    ----------
    env:
        What is copied.
    seeds:
        Of each copy's first episode, in [0, 2^32); later ones go on from there.
    """

    def __init__(self, env: Hosted, seeds: Sequence[int]) -> None:
        self._env, self._all = env, [env.make() for _ in seeds]
        # Whoever lets go of the copies of a phase need not think of it.
        self._finish = weakref.finalize(self, _close, self._all)
        started = [one.reset(seed=seed)[0] for one, seed in zip(self._all, seeds, strict=True)]
        #: What the copies show, ``[n, d]`` float32.
        self.seen: Array = np.stack([env.flat(seen) for seen in started])

    def step(self, action: Array, going: Array) -> dict[str, Array]:
        """Go one step on with the copies that ``going [n]`` names; the others stand still.

        Returns ``after [n, d]``, what they show, and ``reward`` (float32; 0 of those that stand still),
        ``ended`` (nothing follows) and ``over`` (ended, or cut off), ``[n]``.
        """
        n = len(self._all)
        after, reward = self.seen.copy(), np.zeros(n, dtype=np.float32)
        ended, over = np.zeros((2, n), dtype=np.bool_)
        for i in np.flatnonzero(going):
            seen, gain, end, cut, _ = self._all[i].step(self._env.undone(action[i]))
            after[i], reward[i], ended[i], over[i] = self._env.flat(seen), gain, end, end or cut
        self.seen = after
        return {"after": after, "reward": reward, "ended": ended, "over": over}

    def restart(self, over: Array) -> None:
        """Begin new episodes of the copies that ``over [n]`` names."""
        self.seen = self.seen.copy()
        for i in np.flatnonzero(over):
            self.seen[i] = self._env.flat(self._all[i].reset()[0])

    def close(self) -> None:
        """Let go of what the copies hold."""
        self._finish()


def _close(some: Sequence[gymnasium.Env[Any, Any]]) -> None:
    for one in some:
        one.close()
