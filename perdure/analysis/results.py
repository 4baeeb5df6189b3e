"""Results: the score tensor of every strategy, and all that is computed from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perdure.analysis import statistics, tables, wellformed
from perdure.analysis.diverged import diverged
from perdure.analysis.metrics import needs
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.notes import doubts
from perdure.core.errors import PerdureError, UnknownName, unknown

if TYPE_CHECKING:
    import pandas as pd

Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores measured every few steps of training.

    Parameters
    ----------
    steps:
        Global step of each evaluation, ``[K]``.
    stage:
        Stage (from 0) whose training each evaluation falls in, ``[K]``, in order.
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


class ByStrategy(dict[str, Array]):
    """Arrays by strategy; a name that is not there is an error that shows the nearest ones."""

    def __missing__(self, name: str) -> Array:
        raise UnknownName(str(unknown("strategy", name, self)))


@dataclass(eq=False)
class Results:
    """What an experiment measured, per strategy.

    Parameters
    ----------
    scores:
        Scores by strategy, ``[replica, stage, task]``: one stage per task, or one stage in all for
        strategies that learn without stages (joint, single).
    untrained:
        Scores before any training, ``[replica, task]``, where measured.
    curves:
        Evaluation curves, where measured.
    costs:
        seconds_train, seconds_eval, seconds_warmup, parameters, state_bytes, samples_seen, steps, flops.
    extras:
        Anything else that JSON can hold, such as what tuning chose; ``diverged`` lists the seeds whose
        replica diverged.
    config:
        What was run, JSON-able: ``seeds``, ``tasks`` (names), ``kinds`` (strategy name to kind), ``bounds``
        (strategies that bound the others), ``stream``, ``setting``, ``metric``, ``test_sizes``, ...
    warnings:
        What the reader must know; what is doubtful about the numbers is added here.
    trained:
        The trained replicas by strategy, where they were kept (``compare(..., keep=True)``); never saved.
    """

    scores: dict[str, Array]
    untrained: dict[str, Array] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trained: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.scores:
            raise PerdureError("expected the scores of at least one strategy; found none")
        self.scores = ByStrategy((k, np.array(value, dtype=np.float64)) for k, value in self.scores.items())
        self.untrained = {name: np.array(value, dtype=np.float64) for name, value in self.untrained.items()}
        self.costs = {n: {k: float(v) for k, v in cost.items()} for n, cost in self.costs.items()}
        self.extras = wellformed.plain("extras", self.extras)
        self.config = wellformed.plain("config", self.config)
        first = next(iter(self.scores.values()))
        if first.ndim == 3:
            self.config.setdefault("seeds", list(range(first.shape[0])))
            self.config.setdefault("tasks", [f"task {index + 1}" for index in range(first.shape[2])])
        wellformed.check(self)
        warnings = [*self.warnings, *statistics.seed_warnings(self.seeds), *doubts(self)]
        self.warnings = list(dict.fromkeys(warnings))

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

    @property
    def diverged(self) -> dict[str, list[int]]:
        """Seeds whose replica diverged, of the strategies that have some.

        Those that the run noted (weights or scores not finite), and those without a finite score on a task
        that was learned. Scores on tasks still to come may be missing.
        """
        lost = {name: np.flatnonzero(diverged(self, name)) for name in self.scores}
        return {name: [self.seeds[i] for i in places] for name, places in lost.items() if len(places)}

    def metric(self, name: str, strategy: str, dialect: str = "paper") -> Array:
        """One number per seed; a metric whose baseline was not measured is refused.

        NaN for a seed that diverged, or for which the metric is undefined. ``dialect`` names the library
        whose definition is meant; a metric that the library does not compute is refused:
        :mod:`perdure.analysis.metrics.dialects` lists them. Of ``gap_closed``, ``multi_task_gain`` and
        ``rl_forward_transfer`` these are each seed's own ratios, whose mean one denominator near zero can
        decide: :meth:`table` and :meth:`compare` divide means over seeds.
        """
        if strategy not in self.scores:
            raise unknown("strategy", strategy, self.scores)
        return needs.evaluate(self, name, strategy, dialect)

    def table(
        self, metrics: Sequence[str] | None = None, dialect: str = "paper", confidence: float = 0.95
    ) -> pd.DataFrame:
        """Mean and bootstrap interval over seeds: strategy, metric, mean, low, high, seeds.

        Without ``metrics``, every metric that is defined for the strategy and whose baselines were measured.
        ``seeds`` counts those that the mean is over. Where a seed of any strategy diverged, a column
        ``diverged`` counts those left out; a strategy of which all did has NaN.
        """
        return tables.summary(self, metrics, dialect, confidence)

    def frame(self) -> pd.DataFrame:
        """All scores in tidy long form: strategy, seed, stage, task, score, task_name.

        Stages and tasks are counted from 0, as in the tensor. Where a seed diverged, a column ``diverged``
        tells.
        """
        return tables.tidy(self)

    def compare(
        self,
        metric: str = "average_accuracy",
        dialect: str = "paper",
        confidence: float = 0.95,
        against: str | None = None,
    ) -> pd.DataFrame:
        """Compare strategies with a baseline, paired by seed.

        Columns: metric, first, second (in the order of the strategies), difference (first minus second),
        low, high, p (sign-flip test), p_holm (Holm's correction over the rows), improvement (probability that
        a run of the first is better), seeds (without those that diverged).

        Parameters
        ----------
        metric:
            Name of what is compared, one number per seed.
        dialect:
            Whose definition of it.
        confidence:
            Of the intervals, in (0, 1).
        against:
            The baseline; by default naive, or the first strategy where there is none. ``"all"`` compares
            every pair: the correction grows with their number, and ``frame.attrs["note"]`` says where it
            makes significance impossible (None elsewhere).
        """
        return tables.pairs(self, metric, dialect, confidence, against)

    def plot_forgetting(self, path: Path) -> None:
        """Draw each task's score along the stream, a panel per task, with intervals."""
        _plots().save(_plots().forgetting_curves(self), path)

    def plot_matrix(self, path: Path) -> None:
        """Draw the accuracy matrix of every strategy, mean over seeds."""
        _plots().save(_plots().matrices(self), path)

    def plot_comparison(self, path: Path) -> None:
        """Draw average accuracy and forgetting of the strategies side by side, with intervals."""
        _plots().save(_plots().comparison(self), path)

    def plot_average(self, path: Path) -> None:
        """Draw the average over the tasks seen so far along the stream, with intervals."""
        _plots().save(_plots().average_curves(self), path)

    def plot_curves(self, path: Path) -> None:
        """Draw the evaluations during training (``eval_every``): the stability gap shows here."""
        _plots().save(_plots().evaluation_curves(self), path)

    def report(self, path: Path) -> None:
        """Write one self-contained HTML page with tables, figures, configuration, costs and warnings."""
        from perdure.analysis.report.page import write

        write(self, path)

    def save(self, folder: Path) -> None:
        """Write the run into ``folder``; :func:`perdure.analysis.load` gives the same object back."""
        from perdure.analysis import store

        store.save(self, folder)


def _plots() -> Any:
    # Loaded when a figure is asked for: matplotlib and seaborn take a second.
    from perdure.analysis.plots import figures as plots

    return plots
