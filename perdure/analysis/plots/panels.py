"""Lines and bars, each drawn into one pair of axes; figures and the report put these together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perdure.analysis.diverged import diverged
from perdure.analysis.metrics import worlds
from perdure.analysis.metrics.labels import label
from perdure.analysis.metrics.matrix import Array, average_accuracy, average_over_seen, mean
from perdure.analysis.metrics.needs import evaluate, prefers_higher
from perdure.analysis.metrics.steps import stage_ends
from perdure.analysis.metrics.worlds import ENVIRONMENT
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.scene import MANY, Scene, mean_over_replicas
from perdure.analysis.plots.style import INK, Look, marker_places
from perdure.analysis.statistics import bootstrap_band, bootstrap_interval
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from perdure.analysis.record import Curve

RESAMPLES = 2_000  # a band's edge is then steady to a line's width
POINTS = 500  # more points in a line are not told apart


def line(axes: Axes, x: npt.ArrayLike, values: Array, look: Look, label: str, marks: bool = True) -> None:
    """Mean of ``values [replica, x]`` with its bootstrap band."""
    if not len(values):
        return
    centre = mean_over_replicas(values)
    places, shown = np.asarray(x), _envelope(centre)
    drawn: dict[str, Any] = {"color": look["color"], "linestyle": look["line"], "label": label}
    drawn["linewidth"] = look["width"]
    if marks:
        drawn |= {"marker": look["marker"], "markevery": marker_places(len(shown), look)}
    axes.plot(places[shown], centre[shown], **drawn)
    if len(values) > 1:
        band = bootstrap_band(values[:, shown], samples=RESAMPLES)
        axes.fill_between(places[shown], *band, color=look["color"], alpha=0.2, linewidth=0)


def _envelope(centre: Array) -> npt.NDArray[np.intp]:
    """Points of a line that are drawn: all, or of a long one the lowest and highest of every short piece."""
    count = len(centre)
    if count <= POINTS:
        return np.arange(count)
    filled = np.nan_to_num(centre)
    found = {0, count - 1}
    for start, end in pairwise(np.linspace(0, count, POINTS // 2, dtype=int)):
        found |= {start + int(filled[start:end].argmin()), start + int(filled[start:end].argmax())}
    return np.array(sorted(found))


def level(axes: Axes, values: Array, look: Look, label: str) -> None:
    """Mean of ``values [replica]`` as a dashed line across the panel."""
    if len(values):
        height = float(mean(values))
        axes.axhline(height, color=look["color"], linestyle=look["dashes"], label=label, zorder=1.5)


def task(axes: Axes, scene: Scene, index: int) -> None:
    """Score on one task after every stage; a dotted line marks the task's own stage."""
    stages = np.arange(1, scene.tasks + 1)
    axes.axvline(index + 1, color="0.55", linestyle=":", linewidth=1)
    for name, scores in scene.scores.items():
        values = scores[:, :, index]
        if name in scene.levels:
            level(axes, values[:, 0], scene.look[name], name)
        else:
            line(axes, stages, values, scene.look[name], name)


def average(axes: Axes, scene: Scene) -> None:
    """Average over the tasks seen so far, after every stage."""
    stages = np.arange(1, scene.tasks + 1)
    for name, scores in scene.scores.items():
        if name in scene.levels:
            level(axes, average_accuracy(scores), scene.look[name], name)
        else:
            # Scores of tasks that are still to come may be missing.
            line(axes, stages, average_over_seen(np.tril(scores)), scene.look[name], name)


def bars(axes: Axes, scene: Scene, metric: str) -> None:
    """Mean of a metric of each strategy, with its interval."""
    results = scene.results
    for place, name in enumerate(results.strategies):
        try:
            values = evaluate(results, metric, name)
        except PerdureError:  # not defined for this strategy
            continue
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        centre = float(values.mean())
        axes.barh(place, centre, color=scene.look[name]["color"], height=0.62, alpha=0.85)
        if len(values) > 1:
            low, high = bootstrap_interval(values)
            # Rounding must not make a length negative.
            reach = [[max(0.0, centre - low)], [max(0.0, high - centre)]]
            axes.errorbar(centre, place, xerr=reach, color=INK, capsize=3)
    axes.axvline(0, color="0.4", linewidth=0.8)
    arrow = "higher" if prefers_higher(results, metric) else "lower"
    called = label(results, metric)
    what = scene.score_name if metric == "average_accuracy" else called[0].lower() + called[1:]
    axes.set(title=called, xlabel=f"{what} ({arrow} is better)")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def bar_names(axes: Axes, scene: Scene) -> list[str]:
    """Name the bars, the first on top; return the key to the names that were cut."""
    names = scene.results.strategies
    labels = shorten(names, 30)
    shown = [scene.marked(*pair, between="\n") for pair in zip(names, labels.shown, strict=True)]
    axes.set_yticks(range(len(names)), shown)
    axes.set_ylim(len(names) - 0.4, -0.6)
    return labels.key


@dataclass(frozen=True)
class Along:
    """Where on the stream evaluations during training lie.

    Parameters
    ----------
    places:
        Of each strategy's evaluations, ``[K]``.
    switches:
        Where the stream begins, where each task gives way to the next, and where it ends, ``[tasks + 1]``.
    label:
        What places are counted in.
    """

    places: dict[str, Array]
    switches: Array
    label: str = "tasks of the stream"

    @classmethod
    def of(cls, scene: Scene, names: list[str]) -> Along:
        """Count in steps of the environment where all take the same number for each task, else in tasks."""
        curves = {name: scene.results.curves[name] for name in names}
        tasks = cls({name: along(curve) for name, curve in curves.items()}, np.arange(scene.tasks + 1.0))
        if worlds.unit(scene.results) != ENVIRONMENT:
            return tasks
        try:
            places = {name: worlds.steps(scene.results, curve) for name, curve in curves.items()}
        except PerdureError:  # not said for each task: notes tell
            return tasks
        ends = [stage_ends(places[name], curve.stage) for name, curve in curves.items()]
        if any(len(one) != scene.tasks + 1 or not np.allclose(one, ends[0]) for one in ends):
            return replace(tasks, label=f"{tasks.label} (of different {ENVIRONMENT})")
        return cls(places, ends[0], ENVIRONMENT)


def along(curve: Curve) -> Array:
    """Where on the stream each evaluation of a curve lies, in tasks: 1.5 is half way through the second.

    A strategy may take more steps than another; a task is a task for both.
    """
    ends = stage_ends(curve.steps, curve.stage)
    start, length = ends[curve.stage], np.diff(ends)[curve.stage]
    share = np.where(length > 0, (curve.steps - start) / np.where(length > 0, length, 1), 1)
    return np.asarray(curve.stage + share)


def training(axes: Axes, scene: Scene, where: Along, index: int | None) -> None:
    """Scores on a task, or on average over the tasks seen, at every evaluation during training."""
    for name, places in where.places.items():
        curve = scene.results.curves[name]
        scores = curve.scores[~diverged(scene.results, name)]
        values = _over_seen(scores, curve.stage) if index is None else scores[:, :, index]
        values = np.where(np.isfinite(values), values, np.nan)
        line(axes, places, values, scene.look[name], name, marks=False)
    if scene.tasks <= MANY:
        for switch in where.switches[1:-1]:
            axes.axvline(switch, color="0.55", linestyle=":", linewidth=1)
    axes.set_xlim(0, where.switches[-1])


def _over_seen(scores: Array, stage: npt.NDArray[np.int64]) -> Array:
    seen = np.arange(scores.shape[-1]) <= stage[:, None]
    return np.asarray(np.where(seen, scores, 0.0).sum(axis=-1) / seen.sum(axis=-1))
