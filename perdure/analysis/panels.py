"""What is drawn into one pair of axes; figures and the report put these together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perdure.analysis.diverged import cleared, diverged, remark, survivors
from perdure.analysis.labels import shorten, tidy
from perdure.analysis.metrics import Array, average_accuracy, average_over_seen, mean
from perdure.analysis.needs import one_stage
from perdure.analysis.registry import METRICS
from perdure.analysis.results import Curve
from perdure.analysis.statistics import bootstrap_band, bootstrap_interval
from perdure.analysis.style import INK, Look, looks, marker_places, round_ticks
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from perdure.analysis.results import Results

MANY = 20  # the most tasks that get a panel each
ANNOTATED = 10  # the most tasks whose matrix still has room for numbers
RESAMPLES = 2_000  # a band's edge is then steady to a line's width
POINTS = 500  # more points in a line are not told apart
CLOSE = 0.01  # lines this near to each other, as a share of the scale, look like one


@dataclass(frozen=True)
class Scene:
    """What every panel of some results needs: scores without the replicas that diverged, and looks.

    Parameters
    ----------
    results:
        What is drawn.
    cleared:
        The same with NaN where a replica diverged.
    scores:
        Scores of the replicas that did not diverge, by strategy.
    look:
        Colour, marker and lines of each strategy.
    levels:
        Strategies that learned all tasks at once.
    """

    results: Results
    cleared: Results
    scores: dict[str, Array]
    look: dict[str, Look]
    levels: list[str]

    @classmethod
    def of(cls, results: Results) -> Scene:
        """Leave out what diverged and see which lines lie on each other."""
        scores = {name: survivors(results, name) for name in results.strategies}
        levels = [name for name in results.strategies if one_stage(results, name)]
        lines = {name: _shape(values) for name, values in scores.items() if name not in levels}
        final = {name: _mean(scores[name][:, -1]) for name in levels}
        look = looks(results.strategies, _turns(lines) | _turns(final))
        return cls(results, cleared(results), scores, look, levels)

    @property
    def tasks(self) -> int:
        return len(self.results.tasks)

    @property
    def staged(self) -> list[str]:
        return [name for name in self.scores if name not in self.levels]

    @property
    def score_name(self) -> str:
        return tidy(str(self.results.config.get("metric", "score")))

    @property
    def levels_marked(self) -> list[str]:
        return [self.marked(name) for name in self.levels]

    def marked(self, name: str, shown: str | None = None, between: str = " ") -> str:
        """Return a name and, where replicas diverged, how many."""
        mark = remark(self.results, name)
        return (shown or tidy(name)) + (f"{between}({mark})" if mark else "")

    def legend(self, names: list[str]) -> dict[str, Look]:
        """Entries of a legend."""
        return {self.marked(name): self.look[name] for name in names}


def _shape(scores: Array) -> Array:
    """What decides whether two lines coincide: the mean matrix, or with many tasks the average curve."""
    return _mean(scores) if scores.shape[-1] <= MANY else _mean(average_over_seen(np.tril(scores)))


def _turns(lines: Mapping[str, Array]) -> dict[str, tuple[int, int]]:
    """Place and number of those whose lines coincide, for each strategy that has such company."""
    finite = {name: line for name, line in lines.items() if np.isfinite(line).any()}
    if not finite:
        return {}
    reach = [(np.nanmin(line), np.nanmax(line)) for line in finite.values()]
    near = CLOSE * (max(high for _, high in reach) - min(low for low, _ in reach))
    groups: list[list[str]] = []
    for name, line in finite.items():
        for group in groups:
            if np.allclose(line, finite[group[0]], rtol=0, atol=near, equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return {
        name: (place, len(group)) for group in groups if len(group) > 1 for place, name in enumerate(group)
    }


def _mean(values: Array) -> Array:
    """Mean over replicas; NaN where none is left."""
    return mean(values, axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def line(axes: Axes, x: npt.ArrayLike, values: Array, look: Look, label: str, marks: bool = True) -> None:
    """Mean of ``values [replica, x]`` with its bootstrap band."""
    if not len(values):
        return
    centre = _mean(values)
    places, shown = np.asarray(x), _envelope(centre)
    drawn: dict[str, Any] = {"color": look["color"], "linestyle": look["line"], "label": label}
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
            values = scene.cleared.metric(metric, name)
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
    arrow = "higher" if METRICS[metric].higher_is_better else "lower"
    axes.set(title=METRICS[metric].label, xlabel=f"{scene.score_name} ({arrow} is better)")
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


def along(curve: Curve) -> Array:
    """Where on the stream each evaluation of a curve lies, in tasks: 1.5 is half way through the second.

    A strategy may take more steps than another; a task is a task for both.
    """
    ends = np.zeros(int(curve.stage.max(initial=0)) + 2)
    np.maximum.at(ends, curve.stage + 1, curve.steps)
    ends = np.maximum.accumulate(ends)
    start, length = ends[curve.stage], np.diff(ends)[curve.stage]
    share = np.where(length > 0, (curve.steps - start) / np.where(length > 0, length, 1), 1)
    return np.asarray(curve.stage + share)


def training(axes: Axes, scene: Scene, names: list[str], index: int | None) -> None:
    """Scores on a task, or on average over the tasks seen, at every evaluation during training."""
    for name in names:
        curve = scene.results.curves[name]
        scores = curve.scores[~diverged(scene.results, name)]
        values = _over_seen(scores, curve.stage) if index is None else scores[:, :, index]
        values = np.where(np.isfinite(values), values, np.nan)
        line(axes, along(curve), values, scene.look[name], name, marks=False)
    if scene.tasks <= MANY:
        for switch in range(1, scene.tasks):
            axes.axvline(switch, color="0.55", linestyle=":", linewidth=1)
    axes.set_xlim(0, scene.tasks)


def _over_seen(scores: Array, stage: npt.NDArray[np.int64]) -> Array:
    seen = np.arange(scores.shape[-1]) <= stage[:, None]
    return np.asarray(np.where(seen, scores, 0.0).sum(axis=-1) / seen.sum(axis=-1))


@dataclass(frozen=True)
class Matrix:
    """A panel of scores: a row per stage, or a row per strategy that learned all tasks at once."""

    title: str
    values: Array
    rows: list[str]


def matrices(scene: Scene, room: int) -> tuple[list[Matrix], list[str]]:
    """Mean matrices of all strategies, and the key to the names that were cut to ``room`` characters."""
    names = scene.results.strategies
    labels = shorten(names, room)
    shown = {name: scene.marked(name, short, "\n") for name, short in zip(names, labels.shown, strict=True)}
    found = [Matrix(shown[name], _mean(scene.scores[name]), []) for name in scene.staged]
    if scene.levels:
        rows = np.concatenate([_mean(scene.scores[name]) for name in scene.levels])
        found.append(Matrix("all tasks at once", rows, [shown[name] for name in scene.levels]))
    return found, labels.key


def colour_limits(scene: Scene, found: list[Matrix]) -> tuple[float, float]:
    """Scale of the colours: 0 to 1 for accuracies, otherwise what there is."""
    finite = [m.values[np.isfinite(m.values)] for m in found]
    if scene.results.config.get("metric") == "accuracy" or not any(map(len, finite)):
        return 0.0, 1.0
    return min(float(v.min()) for v in finite if len(v)), max(float(v.max()) for v in finite if len(v))


def heat(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    """Draw a matrix: cells with numbers for few tasks, an image for many. Return what a colour bar needs."""
    tasks = matrix.values.shape[1]
    drawn = _cells(axes, matrix, limits) if tasks <= MANY else _image(axes, matrix, limits)
    axes.set_title(matrix.title)
    axes.set(xlabel="task", ylabel="" if matrix.rows else "tasks learned")
    axes.set_anchor("N")
    axes.tick_params(length=0, labelrotation=0, labelsize=8)
    return drawn


def _cells(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    import seaborn

    tasks = matrix.values.shape[1]
    every = 1 if tasks <= ANNOTATED else 3
    numbers = [str(index + 1) if index % every == 0 else "" for index in range(tasks)]
    seaborn.heatmap(
        matrix.values,
        ax=axes,
        vmin=limits[0],
        vmax=limits[1],
        cmap="viridis",
        square=True,
        cbar=False,
        annot=tasks <= ANNOTATED,
        fmt=".2f",
        annot_kws={"fontsize": 7},
        linewidths=0.5,
        xticklabels=numbers,
        yticklabels=matrix.rows or numbers,
    )
    for text in axes.texts:  # on the cells, whose colours stay in the dark
        text.set_color("white" if text.get_color() == "w" else "black")
    return axes.collections[0]


def _image(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    count, tasks = matrix.values.shape
    drawn = axes.imshow(
        np.ma.masked_invalid(matrix.values),
        vmin=limits[0],
        vmax=limits[1],
        cmap="viridis",
        aspect="auto",
        extent=(0.5, tasks + 0.5, count + 0.5, 0.5),
    )
    axes.grid(visible=False)
    ticks = round_ticks(tasks)
    axes.set_xticks(ticks)
    if matrix.rows:
        axes.set_yticks(range(1, count + 1), matrix.rows)
        axes.set_box_aspect(min(1.0, 0.09 * count))
    else:
        axes.set_yticks(ticks)
        axes.set_box_aspect(1)
    return drawn
