"""Matrices of scores: cells with numbers for few tasks, images for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.analysis.metrics.matrix import Array
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.scene import MANY, Scene, mean_over_replicas
from perdure.analysis.plots.style import round_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANNOTATED = 10  # the most tasks whose matrix still has room for numbers


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
    found = [Matrix(shown[name], mean_over_replicas(scene.scores[name]), []) for name in scene.staged]
    if scene.levels:
        rows = np.concatenate([mean_over_replicas(scene.scores[name]) for name in scene.levels])
        found.append(Matrix("all tasks at once", rows, [shown[name] for name in scene.levels]))
    return found, labels.key


def colour_limits(scene: Scene, found: list[Matrix]) -> tuple[float, float]:
    """Scale of the colours: 0 to 1 for accuracies, otherwise what there is."""
    finite = [m.values[np.isfinite(m.values)] for m in found]
    if scene.results.config.get("metric") == "accuracy" or not any(map(len, finite)):
        return 0.0, 1.0
    return min(float(v.min()) for v in finite if len(v)), max(float(v.max()) for v in finite if len(v))


def draw(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> Any:
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
