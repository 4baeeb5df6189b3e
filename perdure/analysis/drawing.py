"""The figures of results, as methods: each makes one and, where there is a path, writes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from perdure.analysis.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]


class Drawing(Record):
    """What draws results."""

    def plot_forgetting(self, path: Path | None = None) -> Figure:
        """Draw each task's score along the stream, a panel per task, with intervals."""
        return _figure("forgetting_curves", self, path)

    def plot_matrix(self, path: Path | None = None) -> Figure:
        """Draw the accuracy matrix of every strategy, mean over seeds."""
        return _figure("matrices", self, path)

    def plot_comparison(self, path: Path | None = None) -> Figure:
        """Draw average accuracy and forgetting of the strategies side by side, with intervals."""
        return _figure("comparison", self, path)

    def plot_average(self, path: Path | None = None) -> Figure:
        """Draw the average over the tasks seen so far along the stream, with intervals."""
        return _figure("average_curves", self, path)

    def plot_curves(self, path: Path | None = None) -> Figure:
        """Draw the evaluations during training (``eval_every``): the stability gap shows here.

        Along the tasks of the stream; in steps of the environment where the stream says how many of them a
        training step stands for, and all strategies take the same number for each task.
        """
        return _figure("evaluation_curves", self, path)

    def plot_confusion(self, strategy: str, stage: int = -1, path: Path | None = None) -> Figure:
        """Draw the confusion matrix of a strategy after a stage, mean over seeds of each label's shares.

        ``stage`` counts from 0, and from the end where it is negative.
        """
        return _figure("confusion", self, path, strategy, stage)

    def plot_gain(self, path: Path | None = None) -> Figure:
        """Draw what each strategy gains over single-task learning: a bar for the mean, a point per task."""
        return _figure("gain", self, path)

    def plot_kept_and_gained(self, path: Path | None = None) -> Figure:
        """Draw forgetting along the stream beside the gain over single-task learning, of the same run.

        What learns task after task is judged by the left panel, what learns all tasks at once by the right
        one, and both by it.
        """
        return _figure("kept_and_gained", self, path)

    def plot_conflicts(self, *strategies: str, path: Path | None = None) -> Figure:
        """Draw how many pairs of tasks conflict along training, and the mean cosine of each pair's gradients.

        Of the strategies named, or of all that were watched: ``compare(stream, ["mmoe + watch-conflicts"])``.
        """
        return _figure("conflict_figure", self, path, strategies)

    def plot_transfer(self, path: Path | None = None) -> Figure:
        """Draw what each stage did to every other task: forgetting below the diagonal, transfer above it.

        The matrices whose means are the metrics isolated forgetting and zero-shot transfer.
        """
        return _figure("transfer", self, path)

    def plot_plasticity(self, path: Path | None = None) -> Figure:
        """Draw learning accuracy, dormant units, effective rank and mean |weight| by task, with intervals.

        Of the strategies that were watched: ``compare(stream, ["naive + watch-plasticity"])``.
        """
        return _figure("plasticity_figure", self, path)

    def plot_film(self, strategy: str, path: Path | None = None) -> Figure:
        """Draw moments of an episode that the first seed's policy plays in each task, a row for each.

        Once when the task was just learned, once at the end of training: of the episodes that were scored
        the one with the median return. Of streams of environments that say what they look like; more of a
        policy that was kept is in ``results.trained[strategy].play(task)``.
        """
        return _figure("films", self, path, strategy)

    def plot_front(self, tasks: tuple[int, int] = (0, 1), path: Path | None = None) -> Figure:
        """Draw the final scores of two tasks against each other, a point per strategy, and the Pareto front.

        ``tasks`` are counted from 0. What methods reach when asked for preferences between tasks is drawn by
        :func:`perdure.analysis.plot_front`.
        """
        return _figure("strategy_front", self, path, tasks)


def _figure(name: str, results: Record, path: Path | None, *wishes: Any) -> Figure:
    # Loaded when a figure is asked for: matplotlib and seaborn take a second.
    from perdure.analysis.plots import figures

    return figures.finished(getattr(figures, name), results, path, *wishes)
