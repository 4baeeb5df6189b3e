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


def draw(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    """Draw a matrix: cells with numbers for few tasks, an image for many. Return what a colour bar needs."""
    few = max(matrix.values.shape) <= MANY
    drawn = _cells(axes, matrix, limits) if few else _image(axes, matrix, limits)
    axes.set_title(matrix.title)
    axes.set(xlabel=matrix.across, ylabel=matrix.down)
    axes.set_anchor("N")
    axes.tick_params(length=0, labelrotation=0, labelsize=8)
    if any(len(name) > 2 for name in matrix.columns):
        axes.tick_params(axis="x", labelrotation=90)
    return drawn


def _cells(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    low, high = limits
    values = np.ma.masked_invalid(matrix.values)
    drawn = axes.pcolormesh(values, vmin=low, vmax=high, cmap="viridis", linewidths=0.5, edgecolors="white")
    axes.set(xlim=(0, values.shape[1]), ylim=(values.shape[0], 0), aspect="equal")
    axes.spines[:].set_visible(False)
    rows, columns = (_numbers(count) for count in values.shape)
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, matrix.columns or columns)
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, matrix.rows or rows, va="center")
    if max(values.shape) <= ANNOTATED:
        drawn.update_scalarmappable()
        colours = np.asarray(drawn.get_facecolor()).reshape(*values.shape, 4)
        for place, value in np.ndenumerate(values):
            if value is not np.ma.masked:
                ink = "black" if _luminance(colours[place]) > 0.408 else "white"
                row, column = place
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.2f}", color=ink, ha="center", va="center", size=7
                )
    return drawn


def _luminance(colour: Array) -> float:
    """Relative luminance of a colour in sRGB, as the Web Content Accessibility Guidelines define it."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear[:3] @ (0.2126, 0.7152, 0.0722))


def _numbers(count: int) -> list[str]:
    every = 1 if count <= ANNOTATED else 3
    return [str(index + 1) if index % every == 0 else "" for index in range(count)]


def _image(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
    rows, columns = matrix.values.shape
    drawn = axes.imshow(
        np.ma.masked_invalid(matrix.values),
        vmin=limits[0],
        vmax=limits[1],
        cmap="viridis",
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
