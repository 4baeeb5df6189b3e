"""Worlds on the host: their copies are stepped one by one, outside tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.scenarios.contract.world import Act, World

Array = np.ndarray[Any, Any]


class OnHost(Protocol):
    """Copies of a world that one replica acts in."""

    seen: Array
    """What the copies show, ``[n, ...]`` float32."""

    def step(self, action: Array, going: Array) -> Mapping[str, Array]:
        """Go on with the copies that ``going [n]`` names.

        Returns what is remembered of the step: ``reward`` and ``over``, ``[n]``, and what ``rows`` needs.
        """

    def restart(self, over: Array) -> None:
        """Begin new episodes of the copies that ``over [n]`` names."""

    def close(self) -> None:
        """Let go of what the copies hold."""


class HostWorld(World):
    """A world that is no function of tensors: copies of it live on the host.

    In place of ``begin``, ``play``, ``start``, ``step`` and ``score`` it has :meth:`enter`, and what the
    policy does: :meth:`choose` and :meth:`best`, which are pure, mapped and recorded as :meth:`rows` is. Each
    replica has copies of its own, seeded by its seed and the step of training at which it enters, and the
    engine steps those of all replicas one after the other. What is remembered of a step are ``x``, what the
    copies showed, ``action``, and what the copies' ``step`` returns. An episode's score is the sum of its
    rewards.

    A class of worlds has these attributes besides:

    copies, episodes:
        How many copies are learned from, and how many episodes are scored.
    part:
        Enters the seeds of scored episodes, so that validation and test differ.
    """

    copies: int
    episodes: int
    part: str

    def enter(self, seeds: Sequence[int]) -> OnHost:
        """Return a copy for each seed, in [0, 2^32), as its episode starts."""
        raise PerdureError(f"{type(self).__name__} does not say how it is entered: override `enter`")

    def choose(self, act: Act, x: Tensor, rng: Rng) -> Tensor:
        """Draw an action for each of the observations ``[n, ...]``: what is done while learning."""
        raise PerdureError(f"{type(self).__name__} does not say what is done: override `choose`")

    def best(self, act: Act, x: Tensor) -> Tensor:
        """Return the likeliest action for each of the observations: what is done where it is scored."""
        raise PerdureError(f"{type(self).__name__} does not say what is done best: override `best`")
