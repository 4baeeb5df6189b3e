"""Environments of different sizes, brought to one: observations end in zeros, and some actions are absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import pad

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, shown
from perdure.core.random import Rng
from perdure.envs.actions import Actions, Discrete, PaddedDiscrete, Team
from perdure.envs.contract import Env
from perdure.envs.hosted import Hosted


@dataclass(frozen=True, repr=False)
class Padded(Env):
    """An environment whose observations and actions are those of a larger one.

    Observations are padded with zeros behind what there is, along each axis. Of ``most`` actions only those
    of the environment are there (:class:`perdure.envs.PaddedDiscrete`). All else is the environment's.

    Parameters
    ----------
    env:
        The environment.
    size:
        Shape of an observation, nowhere smaller than its own.
    most:
        How many outputs a policy has for its actions; ``None`` where these stay what they are.

    Raises
    ------
    PerdureError
        For a size that is smaller, or of another number of axes; for ``most`` below the number of actions, or
        where these are not one of several; and for a team, or what is stepped on the host, which have
        parameters of their own for it.

    Examples
    --------
    >>> from perdure.envs import CartPole
    >>> padded = Padded(CartPole(), (6,), 3)
    >>> padded.shape, padded.actions, padded.limit
    ((6,), PaddedDiscrete(n=2, most=3), 500)
    """

    name: ClassVar[str] = "padded"
    env: Env
    size: tuple[int, ...]
    most: int | None = None
    limit: int = field(init=False)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.env, Env)
            or isinstance(self.env, Hosted)
            or isinstance(self.env.actions, Team)
        ):
            raise PerdureError(f"expected an environment of one agent, over tensors; found {self.env}")
        object.__setattr__(self, "limit", self.env.limit)
        super().__post_init__()
        if not isinstance(self.size, tuple | list):
            raise PerdureError(f"size must be a shape, such as {self.env.shape}; found {shown(self.size)}")
        object.__setattr__(self, "size", tuple(check_whole("a length of size", n) for n in self.size))
        has = self.env.shape
        if len(self.size) != len(has) or any(to < n for to, n in zip(self.size, has, strict=True)):
            raise PerdureError(f"size must be at least {list(has)}, that of {self.env}; found {self.size}")
        if self.most is not None and not isinstance(self.env.actions, Discrete):
            raise PerdureError(f"`most` is for one of several actions; found {self.env.actions}")
        _ = self.actions

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def actions(self) -> Actions:
        actions = self.env.actions
        if isinstance(actions, Discrete) and self.most not in (None, actions.outputs):
            return PaddedDiscrete(actions.n, self.most)
        return actions

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        low, high = self.env.bounds
        # There are zeros only; an interval must have two ends.
        return self._fill(low, 0.0), self._fill(high, 1.0)

    def reset(self, rng: Rng, n: int) -> State:
        return self.env.reset(rng, n)

    def observe(self, state: State) -> Tensor:
        return self._fill(self.env.observe(state), 0.0)

    def step(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        return self.env.step(state, action, rng)

    def frame(self, state: State) -> Tensor:
        return self.env.frame(state)

    def _fill(self, seen: Tensor, value: float) -> Tensor:
        """Return observations ``[..., *env.shape]`` as ``[..., *size]``."""
        behind = [to - has for to, has in zip(self.size, self.env.shape, strict=True)]
        return pad(seen, [n for more in reversed(behind) for n in (0, more)], value=value)


def of_one_size(envs: Mapping[str, Env]) -> dict[str, Env]:
    """Return environments with observations of one shape and as many actions; refuse what cannot have them.

    Those of one size already are returned as they are. Others are padded to the largest: observations of as
    many axes, and actions that are one of several. Real numbers as actions must be the same ones.

    Parameters
    ----------
    envs:
        Environments by the names of their tasks.
    """
    first = next(iter(envs.values()))
    if all((env.shape, env.actions) == (first.shape, first.actions) for env in envs.values()):
        return dict(envs)
    for task, env in envs.items():
        discrete = isinstance(env.actions, Discrete) and isinstance(first.actions, Discrete)
        if len(env.shape) != len(first.shape) or not (discrete or env.actions == first.actions):
            raise PerdureError(
                f"task {task!r}: expected the observations and actions of the first task, {first.shape} and "
                f"{first.actions}, or such as can be padded: as many axes, and one of several actions; found "
                f"{env.shape} and {env.actions}"
            )
    size = tuple(max(some) for some in zip(*(env.shape for env in envs.values()), strict=True))
    most = max(env.actions.outputs for env in envs.values())
    return {task: _padded(env, size, most) for task, env in envs.items()}


def _padded(env: Env, size: tuple[int, ...], most: int) -> Env:
    if (env.shape, env.actions.outputs) == (size, most):
        return env
    wanted = most if isinstance(env.actions, Discrete) else None
    if isinstance(env, Hosted):
        return replace(env, width=size[0], most=wanted)
    return Padded(env, size, wanted)
