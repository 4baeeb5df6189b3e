"""The data of results: what an experiment measured, which everything else in this room reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perdure.core.errors import PerdureError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """Scores measured every few steps of training.

    Parameters
    ----------
    steps:
        Global step of each evaluation, ``[K]``.
    stage:
        Stage (from 0) whose training each evaluation falls in, ``[K]``, in order; of a strategy that learns
        one task after the other in one stage (single), the task.
    scores:
        ``[replica, K, task]``.
    """

    steps: npt.NDArray[np.int64]
    stage: npt.NDArray[np.int64]
    scores: Array

    def __post_init__(self) -> None:
        for name, kind in (("steps", np.int64), ("stage", np.int64), ("scores", np.float64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=kind))
        if self.scores.ndim != 3 or not self.steps.shape == self.stage.shape == self.scores.shape[1:2]:
            raise PerdureError(
                "expected a curve with steps [K], stage [K] and scores [replica, K, task]; found "
                f"{self.steps.shape}, {self.stage.shape} and {self.scores.shape}"
            )

    def __repr__(self) -> str:
        replicas, count, tasks = self.scores.shape
        span = f", steps {self.steps.min()} to {self.steps.max()}" if count else ""
        return f"Curve: replicas {replicas}, evaluations {count}{span}, tasks {tasks}"


@dataclass(eq=False, repr=False)
class Record:
    """The fields of :class:`~perdure.analysis.Results`, which says what they hold, as plain data.

    Arrays are copied, and ``config`` and ``extras`` become what JSON gives back. Whether they fit together is
    held by :mod:`perdure.analysis.wellformed`.
    """

    scores: dict[str, Array]
    untrained: dict[str, Array] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trained: dict[str, Any] = field(default_factory=dict)
    confusions: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scores:
            raise PerdureError("expected the scores of at least one strategy; found none")
        for what in ("scores", "untrained", "confusions"):
            setattr(
                self, what, {n: np.array(value, dtype=np.float64) for n, value in getattr(self, what).items()}
            )
        self.costs = {n: {k: float(v) for k, v in cost.items()} for n, cost in self.costs.items()}
        self.extras = _plain("extras", self.extras)
        self.config = _plain("config", self.config)
        first = next(iter(self.scores.values()))
        if first.ndim == 3:
            self.config.setdefault("seeds", list(range(first.shape[0])))
            self.config.setdefault("tasks", [f"task {index + 1}" for index in range(first.shape[2])])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the replicas, in the order of the first axis."""
        return list(self.config["seeds"])

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of the last axis."""
        return list(self.config["tasks"])

    @property
    def strategies(self) -> list[str]:
        """Names of the strategies, in the order in which they were given."""
        return list(self.scores)


def _plain(what: str, value: Any) -> Any:
    """Pass ``value`` through JSON, so that what is kept is what a saved run gives back."""
    try:
        return json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError) as error:
        raise PerdureError(f"expected {what} that JSON can hold; found: {error}") from None


def _number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
