"""Tasks: three parts, the outputs they use, and an objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.world import World


@dataclass(frozen=True, eq=False)
class Task:
    """One task of a stream: three disjoint parts, the outputs it uses, and its objective.

    Parameters
    ----------
    name:
        What figures and tables call it.
    train, val, test:
        Disjoint parts. Learning sees ``train``, choices are made on ``val``, scores are on ``test``.
    outputs:
        Indices of the model's outputs that hold this task's classes.
    objective:
        What to minimise and how to score.
    """

    name: str
    train: Part | World
    val: Part | World
    test: Part | World
    outputs: tuple[int, ...]
    objective: Objective = field(default_factory=Classification)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> str:
        """Samples of the training, validation and test part: ``"80 + 9 + 20"``; of worlds, their kind."""
        parts = (self.train, self.val, self.test)
        return " + ".join(type(p).__name__ if isinstance(p, World) else str(len(p)) for p in parts)

    @property
    def closed(self) -> tuple[int, ...]:
        """Outputs that stay closed in every setting: those of actions that the task's world does not have."""
        return self.train.closed if isinstance(self.train, World) else ()

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.sizes}, outputs={self.outputs}, {self.objective})"

    def map_parts(self, change: Callable[[Part], Part]) -> Task:
        """Return the task with ``change(part)`` in place of each of its three parts."""
        train, val, test = (change(samples(part)) for part in (self.train, self.val, self.test))
        return replace(self, train=train, val=val, test=test)


def samples(part: Part | World) -> Part:
    """Return a part that is a table of samples; refuse a world, for what needs samples that are there."""
    if isinstance(part, World):
        raise PerdureError(f"expected a part of samples; found the world {type(part).__name__}")
    return part
