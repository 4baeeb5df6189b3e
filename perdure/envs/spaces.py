"""Observations and actions as Gymnasium describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from perdure.core.errors import PerdureError, shown
from perdure.envs.actions import Actions, Continuous, Discrete, Team
from perdure.envs.contract import Env
from perdure.envs.numpy_rules import Array


def spaces_of(env: Env) -> tuple[spaces.Box, spaces.Space[Any]]:
    """Return the spaces of an environment's observations, float32, and actions: int64 or float32.

    >>> from perdure.envs import CartPole
    >>> spaces_of(CartPole())[1]
    Discrete(2)
    """
    low, high = (bound.numpy().astype(np.float32) for bound in env.bounds)
    seen = spaces.Box(low, high, tuple(env.shape), np.float32)
    if isinstance(env.actions, Discrete):
        return seen, spaces.Discrete(env.actions.n)
    if isinstance(env.actions, Team):
        return seen, spaces.MultiDiscrete([env.actions.n] * env.actions.agents)
    least, most = (np.array(end, dtype=np.float32) for end in (env.actions.low, env.actions.high))
    return seen, spaces.Box(least, most, dtype=np.float32)


def taken(actions: Actions, action: Array, n: int = 1) -> Array:
    """Return actions as the environment takes them; refuse what it cannot take."""
    if isinstance(actions, Continuous):
        shape, fits = (n, actions.d), action.dtype.kind in "fiu" and bool(np.isfinite(action).all())
        if action.shape == shape and fits:
            return action.astype(np.float32)
        raise PerdureError(f"expected actions {list(shape)}, finite; found {shown(action)}")
    if action.shape == (n, *actions.parts) and action.dtype.kind in "iu":
        whole = action.astype(np.int64)
        # Seen without a sign, what is below zero is above everything: one comparison does for both ends.
        if whole.view(np.uint64).max() < actions.n:
            return whole
    expected = [n, *actions.parts]
    raise PerdureError(f"expected actions {expected} in {{0, ..., {actions.n - 1}}}; found {shown(action)}")
