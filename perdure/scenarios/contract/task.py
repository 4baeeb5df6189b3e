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
    classes:
        Indices of the model's outputs that hold this task's classes.
    objective:
        What to minimise and how to score.
    """

    name: str
    train: Part | World
    val: Part | World
    test: Part | World
    classes: tuple[int, ...]
    objective: Objective = field(default_factory=Classification)
    info: dict[str, Any] = field(default_factory=dict)

    def map_parts(self, change: Callable[[Part], Part]) -> Task:
        """Return the task with ``change(part)`` in place of each of its three parts."""
        tables = {"train": self.train, "val": self.val, "test": self.test}
        if worlds := [which for which, part in tables.items() if isinstance(part, World)]:
            raise PerdureError(f"expected tasks of samples; the {worlds[0]} part of {self.name!r} is a world")
        return replace(self, **{which: change(part) for which, part in tables.items()})
