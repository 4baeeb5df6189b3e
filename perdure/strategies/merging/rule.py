"""What a merging rule is: a pure function of weights, and the table of rules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from typing import ClassVar, TypeVar, dataclass_transform

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.errors import PerdureError
from perdure.core.named import Named, entering
from perdure.core.random import Rng
from perdure.core.registry import Registry


@dataclass(frozen=True, repr=False)
class Rule(Named):
    """How the weights of several models become those of one. A frozen dataclass of the rule's numbers.

    Symbols: ``base`` is the common start theta_0, ``tasks`` are the weights theta_t ``[T, ...]`` that were
    learned from it, both by the name of the parameter; ``tau_t = theta_t - theta_0`` is a task vector.
    """

    name: ClassVar[str] = "rule"
    # What the rule needs besides weights: "none", "unlabelled" (inputs) or "labels".
    data: ClassVar[str] = "none"
    # Whether each task is answered with weights of its own: the merged ones get an axis of tasks.
    per_task: ClassVar[bool] = False
    # Whether merged entries stand in the places of those of the start, so that one can go part of the way.
    in_place: ClassVar[bool] = True

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        """Return the merged weights, like ``base``; with ``per_task``, like ``tasks``.

        Parameters
        ----------
        base:
            The common start, by name.
        tasks:
            Weights of each task's model, ``[T, ...]`` by the same names.
        rng:
            Random numbers, for rules that draw.
        """
        raise PerdureError(f"{type(self).__name__} does not say how to merge: override `merge`")


@dataclass(frozen=True, repr=False)
class Streaming(Rule):
    """A rule that takes one model after the other, and keeps none of them.

    The state holds tensors only, and its size doesn't depend on how many models come.
    """

    def begin(self, base: Params) -> State:
        """Return the state before any model."""
        raise PerdureError(f"{type(self).__name__} does not say how to begin: override `begin`")

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        """Take in the weights of one more model, like ``base``."""
        raise PerdureError(f"{type(self).__name__} does not say how to add: override `add`")

    def read(self, base: Params, state: State) -> Params:
        """Return the merged weights of the models so far."""
        raise PerdureError(f"{type(self).__name__} does not say how to read: override `read`")

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        state = self.begin(base)
        for t in range(count(tasks)):
            own = None if rng is None else rng.scoped(f"{t}")
            state = self.add(base, state, {k: v[t] for k, v in tasks.items()}, own)
        return self.read(base, state)


MERGING: Registry[Rule] = Registry("merging rule", "perdure.strategies")
R = TypeVar("R", bound=Rule)


@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def rule(name: str) -> Callable[[type[R]], type[R]]:
    """Make the decorated class a frozen dataclass of its numbers, and enter it in the table of rules.

    Parameters
    ----------
    name:
        What it is called by: lower case, words joined by hyphens.

    Raises
    ------
    PerdureError
        For what is no rule, one that has another name already, and for a name that is taken.
    """
    return entering(MERGING, Rule, "rule", name, repr=False)


def count(tasks: Params) -> int:
    """Return how many models there are: the length of the first axis."""
    return len(next(iter(tasks.values())))


def vectors(base: Params, tasks: Params) -> Params:
    """Return the task vectors ``tau_t = theta_t - theta_0``, ``[T, ...]`` (or without that axis)."""
    return {k: v - base[k] for k, v in tasks.items()}


def move(base: Params, vector: Mapping[str, Tensor], scale: float = 1.0) -> Params:
    """Return ``theta_0 + scale * vector``."""
    return {k: v + scale * vector[k] for k, v in base.items()}


def flat(vectors: Mapping[str, Tensor]) -> Tensor:
    """Return task vectors as the rows of one matrix, ``[T, n]``."""
    return torch.cat([v.flatten(1) for v in vectors.values()], 1)


def unflat(vector: Tensor, base: Params) -> Params:
    """Return one row ``[n]`` in the shapes of ``base``."""
    parts = torch.split(vector, [p.numel() for p in base.values()])
    return {k: part.view_as(p) for (k, p), part in zip(base.items(), parts, strict=True)}
