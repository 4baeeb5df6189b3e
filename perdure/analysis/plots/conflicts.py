"""Conflicts between tasks: how many pairs' gradients disagree along training, and which pairs they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import conflicts
from perdure.analysis.diverged import Mask, diverged
from perdure.analysis.plots import heat, panels
from perdure.analysis.plots.heat import Matrix
from perdure.analysis.plots.labels import folded, shorten
from perdure.analysis.plots.scene import MANY, Scene, mean_where_known
from perdure.analysis.plots.style import (
    canvas,
    grid,
    key_height,
    legend,
    legend_height,
    legend_room,
    write_key,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

COLOURS = "PuOr"  # white at 0; orange and purple are told apart by all
NAME = 16  # characters of a task's name beside a matrix
WIDEST = 3  # matrices in a row
LEAST = 0.1  # the colours reach at least so far


def conflict_figure(results: Record, strategies: Sequence[str] = ()) -> Figure:
    """Share of conflicting pairs along training, and below it each strategy's matrix of mean cosines."""
    scene = Scene.of(results)
    names = list(strategies) or conflicts.needed(results)
    found = [cosines(scene, name) for name in names]
    entries = scene.legend(names)
    rows, columns = grid(len(found), WIDEST)
    side = size(found[0])
    key = task_key(scene)
    width = max(columns * side, 5.6) + 0.9 + legend_room(entries)
    with canvas(width, max(2.9 + rows * side, legend_height(entries)) + key_height(key, width)) as figure:
        places = figure.add_gridspec(1 + rows, columns, height_ratios=[2.6, *[side] * rows])
        share(figure.add_subplot(places[0, :]), scene, names)
        below = [figure.add_subplot(places[1 + i // columns, i % columns]) for i in range(len(found))]
        for panel, matrix in zip(below, found, strict=True):
            drawn = heat.draw(panel, matrix, limits(found), COLOURS)
        figure.colorbar(drawn, ax=below, label="mean cosine", shrink=0.7, pad=0.02, panchor=False)
        write_key(figure, key, width)
        legend(figure, entries)
    return figure


def share(axes: Axes, scene: Scene, names: Sequence[str]) -> None:
    """Draw the share of pairs of tasks whose gradients conflict, along training."""
    for name in names:
        found = conflicts.of(scene.results, name)
        kept: Mask = ~diverged(scene.results, name)
        panels.line(axes, found.steps, found.share[kept], scene.look[name], name)
    axes.axhline(0.5, color="0.55", linestyle=":", linewidth=1)
    axes.set(xlabel="step", ylabel="share of pairs in conflict", ylim=(-0.03, 1.03))
    axes.set_xlim(left=0)


def cosines(scene: Scene, name: str) -> Matrix:
    """Mean cosine of each pair of tasks' gradients, meaned over replicas; a task with itself is left out."""
    values = mean_where_known(conflicts.of(scene.results, name).cosines)
    np.fill_diagonal(values, np.nan)
    tasks = scene.results.tasks
    # Several targets of one task have no names.
    titles = shorten(tasks, NAME).shown if len(tasks) == len(values) <= MANY else []
    return Matrix(scene.marked(name, folded(name, 28), "\n"), values, titles, titles, "task", "task")


def task_key(scene: Scene) -> list[str]:
    """Full names of tasks that are cut beside a matrix."""
    return shorten(scene.results.tasks, NAME).key if 1 < scene.tasks <= MANY else []


def size(matrix: Matrix) -> float:
    """Inches that a matrix takes in either direction."""
    longest = max(map(len, matrix.columns), default=0)
    return min(5.0, 2.2 + 0.28 * min(len(matrix.values), MANY) + 0.07 * longest)


def limits(found: Sequence[Matrix]) -> tuple[float, float]:
    """Scale of the colours, the same to both sides of 0; small cosines stay pale."""
    known = [np.abs(m.values[np.isfinite(m.values)]) for m in found]
    top = max([LEAST, *(float(v.max()) for v in known if len(v))])
    return -top, top
