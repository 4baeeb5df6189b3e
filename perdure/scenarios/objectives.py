"""Objectives by name, and the objectives of a stream's tasks as users give them."""

from __future__ import annotations

from typing import Any, TypeAlias

from perdure.core.errors import PerdureError, shown
from perdure.core.registry import Registry
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.several import PerTask, Targets

OBJECTIVES: Registry[Objective] = Registry("objective")
ObjectiveLike: TypeAlias = Objective | str


@OBJECTIVES.register("classification")
def classification(by: str = "accuracy") -> Objective:
    """Return a classification; ``by`` as for :class:`Classification`."""
    return Classification(by=by)


@OBJECTIVES.register("regression")
def regression(by: str = "negative-squared-error") -> Objective:
    """Return a regression; ``by`` as for :class:`Regression`."""
    return Regression(by=by)


def as_objective(value: Any) -> Objective | None:
    """Return the objective that a name like ``"regression(r2)"`` means; ``None`` is for the labels to say."""
    if isinstance(value, str):
        return OBJECTIVES.get(value)
    if value is not None and (not isinstance(value, Objective) or isinstance(value, PerTask)):
        raise PerdureError(
            "objective must be an Objective or a name such as 'regression(r2)'; found "
            f"{shown(value) if not isinstance(value, PerTask) else 'that of a stream'}"
        )
    return value


def objectives_of(value: Any, tasks: int, targets: int) -> list[list[Objective | None]]:
    """Return the objective of each task's targets, as far as a user gave it.

    Parameters
    ----------
    value:
        One objective for all; a list of one for each task; where samples have several labels, a list of one
        for each target, or a list of such lists.
    tasks, targets:
        How many tasks there are, and how many labels each sample has.
    """
    if not isinstance(value, list | tuple):
        return [_of_task(value, targets)] * tasks
    nested = any(isinstance(one, list | tuple | Targets) for one in value)
    if targets > 1 and not nested:
        return [_of_task(value, targets)] * tasks
    if len(value) != tasks:
        raise PerdureError(f"objective must be one, or one for each of the {tasks} tasks; found {len(value)}")
    return [_of_task(one, targets) for one in value]


def _of_task(value: Any, targets: int) -> list[Objective | None]:
    if isinstance(value, Targets):
        value = value.each
    each = [as_objective(one) for one in (value if isinstance(value, list | tuple) else [value] * targets)]
    if len(each) != targets:
        raise PerdureError(
            f"objective must be one for each of the {targets} labels of a sample; found {len(each)}"
        )
    return each
