"""Results: the score tensor of every strategy, and all that is computed from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Self

from perdure.analysis import combine, describe, hidden_units, statistics, store, tables, wellformed
from perdure.analysis.diverged import lost_seeds
from perdure.analysis.drawing import Drawing
from perdure.analysis.metrics import needs
from perdure.analysis.metrics.confusion import per_class_accuracy
from perdure.analysis.multitask import Multitask
from perdure.analysis.notes import doubts
from perdure.analysis.record import Array, Curve, Record
from perdure.analysis.reinforcement import Reinforcement
from perdure.analysis.summary import latex, summary
from perdure.core.errors import UnknownName, unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Curve", "Results", "load"]

Path = str | os.PathLike[str]


class ByStrategy(dict[str, Array]):
    """Arrays by strategy; a name that is not there is an error that shows the nearest ones."""

    def __missing__(self, name: str) -> Array:
        raise UnknownName(str(unknown("strategy", name, self)))


class Results(Drawing, Multitask, Reinforcement):
    """What an experiment measured, per strategy.

    Two runs on one stream combine: ``results + other``.

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
        seconds_train, seconds_eval, seconds_warmup, parameters, state_bytes, samples_seen, steps, flops; of
        teams that talk, bits_per_step and links_per_step (one agent hears another, in a round) in the scored
        episodes, at the end.
    extras:
        Anything else that JSON can hold, such as what tuning chose; ``diverged`` lists the seeds whose
        replica diverged, and ``film`` holds pictures of what policies do (:meth:`plot_film`).
    config:
        What was run, JSON-able: ``seeds``, ``tasks`` (names), ``kinds`` (strategy name to kind), ``bounds``
        (strategies that bound the others), ``together`` (those that learn several tasks at once),
        ``stream``, ``setting``, ``metric``, ``test_sizes``, ``info`` (what the stream says of its tasks:
        :mod:`perdure.analysis.metrics.worlds`), ...
    warnings:
        What the reader must know; what is doubtful about the numbers is added here.
    trained:
        The trained replicas by strategy, where they were kept (``compare(..., keep=True)``); never saved.
    confusions:
        How test samples were answered, where measured: ``[replica, stage, class, class]``, counts over the
        test parts of all tasks, a row per label and a column per answer.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scores = ByStrategy(self.scores)
        wellformed.check(self)
        self.warnings = list(
            dict.fromkeys([*self.warnings, *statistics.seed_warnings(self.seeds), *doubts(self)])
        )

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return results with the fields of a record, and with warnings of what is doubtful in them."""
        return cls(**{field.name: getattr(record, field.name) for field in fields(record)})

    def __repr__(self) -> str:
        return describe.text(self)

    def _repr_html_(self) -> str:
        return describe.page(self)

    @property
    def diverged(self) -> dict[str, list[int]]:
        """Seeds whose replica diverged, of the strategies that have some.

        Those that the run noted (weights or scores not finite), and those without a finite score on a task
        that was learned. Scores on tasks still to come may be missing.
        """
        return lost_seeds(self)

    def metric(self, name: str, strategy: str, dialect: str = "paper") -> Array:
        """One number per seed; a metric whose baseline was not measured is refused.

        NaN for a seed that diverged, or for which the metric is undefined. ``dialect`` names the library
        whose definition is meant; a metric that the library does not compute is refused:
        :mod:`perdure.analysis.metrics.dialects` lists them. Of ``gap_closed``, ``multi_task_gain`` and
        ``rl_forward_transfer`` these are each seed's own ratios, whose mean one denominator near zero can
        decide: :meth:`table` and :meth:`compare` divide means over seeds.
        """
        return needs.evaluate(self, name, strategy, dialect)

    def table(
        self, metrics: Sequence[str] | None = None, dialect: str = "paper", confidence: float = 0.95
    ) -> pd.DataFrame:
        """Mean and bootstrap interval over seeds: strategy, metric, mean, low, high, seeds.

        Without ``metrics``, every metric that is defined for the strategy and whose baselines were measured.
        ``seeds`` counts those that the mean is over. Where a seed of any strategy diverged, a column
        ``diverged`` counts those left out; a strategy of which all did has NaN. Where numbers are lower
        bounds (``steps_to_threshold`` that was never reached), a column ``censored`` counts their seeds.
        """
        return tables.means(self, metrics, dialect, confidence)

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

    def pairwise(
        self, metric: str = "average_accuracy", dialect: str = "paper", confidence: float = 0.95
    ) -> pd.DataFrame:
        """Compare every pair of strategies, paired by seed: :meth:`compare` with ``against="all"``."""
        return tables.pairs(self, metric, dialect, confidence, tables.EVERY)

    def summary(
        self, metrics: Sequence[str] | None = None, dialect: str = "paper", confidence: float = 0.95
    ) -> pd.DataFrame:
        """One row per strategy, as the command line prints it: "mean [low, high]" as text.

        ``metrics`` are average accuracy, forgetting and learning accuracy where none are named; a dash stands
        where one is not defined, a star where seeds diverged, "≥" where some numbers are lower bounds. Where
        ``tune`` chose, a column says what. The table prints whole, however wide; :meth:`table` holds the
        numbers.
        """
        return summary(self, metrics, dialect, confidence)

    def to_latex(
        self, metrics: Sequence[str] | None = None, dialect: str = "paper", confidence: float = 0.95
    ) -> str:
        r"""Return :meth:`summary` as a LaTeX ``tabular``, to be used with ``\usepackage{booktabs}``."""
        return latex(self, metrics, dialect, confidence)

    def per_class_accuracy(self, strategy: str) -> Array:
        """Share of the test samples of each class that were answered right: ``[replica, stage, class]``.

        NaN for a class without test samples and for a replica that diverged. Refused where confusion matrices
        were not measured.
        """
        return per_class_accuracy(needs.confusion(self, strategy))

    def plasticity(self, confidence: float = 0.95) -> pd.DataFrame:
        """What was seen of the hidden units at the end of each task, with bootstrap intervals over seeds.

        Of every strategy that was run with ``watch-plasticity``; refused where none was. Columns: strategy,
        measure ("dormant": share of dormant units, "rank": effective rank, "weight": mean |weight|), task
        (counted from 0), task_name, mean, low, high, seeds.
        """
        return hidden_units.table(self, confidence)

    def join(self, other: Record) -> Results:
        """Put the strategies of another run on the same stream beside these; ``self + other`` is the same.

        Fingerprint of the stream, setting, tasks, seeds and metric must agree. A name that both have is
        refused where its parameters are the same, and otherwise replaced by the name with parameters.
        Settings in which the runs differ are in ``config["by_strategy"]``, and a warning names them.
        """
        return Results.of(combine.joined(self, other))

    def __add__(self, other: object) -> Results:
        return self.join(other) if isinstance(other, Record) else NotImplemented

    def select(self, *strategies: str) -> Results:
        """Return the results of these strategies only, in this order."""
        return Results.of(combine.selected(self, strategies))

    def report(self, path: Path) -> None:
        """Write one self-contained HTML page with tables, figures, configuration, costs and warnings."""
        from perdure.analysis.report.page import write

        write(self, path)

    def save(self, folder: Path) -> None:
        """Write the run into ``folder``; :func:`perdure.analysis.load` gives the same object back."""
        store.save(self, folder)


def load(folder: Path) -> Results:
    """Read what :meth:`Results.save` or ``compare(..., out=...)`` wrote; anything else is refused."""
    record = store.read(folder)
    results = Results.of(record)
    results.warnings = record.warnings  # loading what was saved adds nothing
    return results
