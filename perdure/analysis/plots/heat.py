"""Matrices of scores: cells with numbers for few tasks, images for many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.analysis.metrics import needs
from perdure.analysis.metrics.confusion import per_class_accuracy, shares
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.plots.labels import folded, shorten
from perdure.analysis.plots.scene import MANY, Scene, mean_over_replicas, mean_where_known
from perdure.analysis.plots.style import round_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from perdure.analysis.record import Record

ANNOTATED = 10  # the most tasks whose matrix still has room for numbers


@dataclass(frozen=True)
class Matrix:
    """A panel of scores, ``values [row, column]``.

    ``rows`` and ``columns`` are the names along the axes; numbers from 1 where they are empty.
    """

    title: str
    values: Array
    rows: list[str]
    columns: list[str] = field(default_factory=list)
    across: str = "task"
    down: str = "tasks learned"


def matrices(scene: Scene, room: int) -> tuple[list[Matrix], list[str]]:
    """Mean matrices of all strategies, and the key to the names that were cut to ``room`` characters."""
    names = scene.results.strategies
    labels = shorten(names, room)
    shown = {name: scene.marked(name, short, "\n") for name, short in zip(names, labels.shown, strict=True)}
    found = [Matrix(shown[name], mean_over_replicas(scene.scores[name]), []) for name in scene.staged]
    if scene.levels:
        rows = np.concatenate([mean_over_replicas(scene.scores[name]) for name in scene.levels])
        names = [shown[name] for name in scene.levels]
        found.append(Matrix("all tasks at once", rows, names, down=""))
    return found, labels.key


def colour_limits(scene: Scene, found: list[Matrix]) -> tuple[float, float]:
    """Scale of the colours: 0 to 1 for accuracies, otherwise what there is."""
    finite = [m.values[np.isfinite(m.values)] for m in found]
    if scene.results.config.get("metric") == "accuracy" or not any(map(len, finite)):
        return 0.0, 1.0
    return min(float(v.min()) for v in finite if len(v)), max(float(v.max()) for v in finite if len(v))


def confusion(scene: Scene, name: str, stage: int = -1) -> Matrix:
    """Confusion matrix after a stage: of each label the shares of the answers, meaned over replicas."""
    values = mean_where_known(shares(needs.confusion(scene.results, name)[:, stage]))
    names = class_names(scene, len(values))
    return Matrix(_title(scene, name), values, names, names, "answer", "label")


def class_accuracy(scene: Scene, name: str) -> Matrix:
    """Accuracy on each class (row) after each stage (column), meaned over replicas."""
    values = mean_where_known(per_class_accuracy(needs.confusion(scene.results, name))).T
    return Matrix(_title(scene, name), values, class_names(scene, len(values)), [], "tasks learned", "class")


def _title(scene: Scene, name: str) -> str:
    return scene.marked(name, folded(name, 28), "\n")


def class_names(scene: Scene, count: int) -> list[str]:
    """Names of the classes, or their numbers from 0."""
    named = scene.results.config.get("class_names", [])
    return shorten(named, 14).shown if len(named) == count else [str(index) for index in range(count)]


def correlations(results: Record) -> list[Matrix]:
    """How tasks go together, as their generator says: correlation of labels, and of what they are made of."""
    info = results.config.get("info", {})
    known = info.get("tasks", [])
    # Of a stream that was cut or joined, the tasks that are left.
    places = [known.index(name) for name in results.tasks if name in known]
    places = places if len(places) > 1 else list(range(len(known)))
    names = shorten([known[place] for place in places], 14).shown
    return [
        Matrix(title, np.array(info[key], dtype=np.float64)[np.ix_(places, places)], names, names, "", "")
        for key, title in (("label_correlation", "labels"), ("task_correlation", "tasks"))
        if info.get(key)
    ]


def draw(axes: Axes, matrix: Matrix, limits: tuple[float, float], colours: str = "viridis") -> Any:
    """Draw a matrix: cells with numbers for few tasks, an image for many. Return what a colour bar needs."""
    few = max(matrix.values.shape) <= MANY
    drawn = (_cells if few else _image)(axes, matrix, limits, colours)
    axes.set_title(matrix.title)
    axes.set(xlabel=matrix.across, ylabel=matrix.down)
    axes.set_anchor("N")
    axes.tick_params(length=0, labelrotation=0, labelsize=8)
    if any(len(name) > 2 for name in matrix.columns):
        axes.tick_params(axis="x", labelrotation=90)
    return drawn


def _cells(axes: Axes, matrix: Matrix, limits: tuple[float, float], colours: str) -> Any:
    import seaborn

    few = max(matrix.values.shape) <= ANNOTATED
    rows, columns = (_numbers(count) for count in matrix.values.shape)
    seaborn.heatmap(
        matrix.values,
        ax=axes,
        vmin=limits[0],
        vmax=limits[1],
        cmap=colours,
        square=True,
        cbar=False,
        annot=few,
        fmt=".2f",
        annot_kws={"fontsize": 7},
        linewidths=0.5,
        xticklabels=matrix.columns or columns,
        yticklabels=matrix.rows or rows,
    )
    axes.grid(visible=False)  # it would show where there is no number
    for text in axes.texts:  # on the cells, whose colours stay in the dark
        text.set_color("white" if text.get_color() == "w" else "black")
    return axes.collections[0]


def _numbers(count: int) -> list[str]:
    every = 1 if count <= ANNOTATED else 3
    return [str(index + 1) if index % every == 0 else "" for index in range(count)]


def _image(axes: Axes, matrix: Matrix, limits: tuple[float, float], colours: str) -> Any:
    rows, columns = matrix.values.shape
    drawn = axes.imshow(
        np.ma.masked_invalid(matrix.values),
        vmin=limits[0],
        vmax=limits[1],
        cmap=colours,
        aspect="auto",
        extent=(0.5, columns + 0.5, rows + 0.5, 0.5),
    )
    axes.grid(visible=False)
    axes.set_xticks(*_ticks(matrix.columns, columns))
    axes.set_yticks(*_ticks(matrix.rows, rows))
    axes.set_box_aspect(min(1.0, 0.09 * rows))
    return drawn


def _ticks(names: list[str], count: int) -> tuple[list[int], list[str]]:
    """Places of ticks and what they say: all names where there are few, otherwise some."""
    places = list(range(1, count + 1)) if names and count <= MANY else round_ticks(count)
    return places, [names[place - 1] for place in places] if names else [str(place) for place in places]
