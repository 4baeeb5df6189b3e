"""Two tasks against each other: a point for each strategy, and the front that the best of them form."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import fronts
from perdure.analysis.anchors import is_anchor
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.needs import signs
from perdure.analysis.plots.labels import cut, tidy
from perdure.analysis.plots.pareto import NAME, RESAMPLES
from perdure.analysis.plots.scene import Scene
from perdure.analysis.plots.style import canvas, legend_height, legend_room
from perdure.analysis.statistics import bootstrap_band
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record


def strategy_front(results: Record, tasks: tuple[int, int] = (0, 1)) -> Figure:
    """Final scores of two tasks, a point for each strategy with 95 % intervals over seeds along both axes.

    The grey line is the front: nothing measured lies beyond it. Hollow points are anchors (naive,
    joint, single). Up and right is better, down or left where the axis says that lower is.
    """
    chosen = fronts.places(results, tasks)
    if len(chosen) != 2:
        raise PerdureError(f"tasks must be two different numbers; found {shown(tasks)}")
    scene = Scene.of(results)
    turn = signs(results)[chosen]
    values = fronts.points(results, chosen)
    middle = fronts.centres(values)
    entries = scene.legend(results.strategies)
    width, height = 5.0 + legend_room(entries), max(4.2, legend_height(entries) + 0.3)
    with canvas(width, height) as figure:
        axes = figure.subplots()
        for name, own, centre in zip(results.strategies, values, middle, strict=True):
            if np.isfinite(centre).all():
                _point(axes, scene, name, own[np.isfinite(own).all(axis=1)] * turn, centre * turn)
        _front(axes, middle[fronts.efficient(middle)], turn)
        axes.set(xlabel=_named(scene, chosen[0]), ylabel=_named(scene, chosen[1]))
        handles, _ = axes.get_legend_handles_labels()
        shown_names = [
            scene.marked(n) for n, c in zip(results.strategies, middle, strict=True) if np.isfinite(c).all()
        ]
        figure.legend(handles, shown_names, loc="outside right upper", frameon=False)
    return figure


def _named(scene: Scene, task: int) -> str:
    lower = " (lower is better)" if signs(scene.results)[task] < 0 else ""
    return f"{scene.score_name} on {cut(tidy(scene.results.tasks[task]), NAME)}{lower}"


def _front(axes: Axes, points: Array, turn: Array) -> None:
    """Draw the border of what the points ``[n, 2]`` dominate, from one edge of the axes to the other."""
    if not len(points):
        return
    edges = axes.get_xlim(), axes.get_ylim()
    worst = np.array([min(turn[i] * np.array(edge)) for i, edge in enumerate(edges)])
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]
    corners = [np.array([[worst[0], ordered[0, 1]]]), ordered[:1]]
    for before, after in pairwise(ordered):
        corners += [np.array([[before[0], after[1]]]), after[None]]
    stairs = np.concatenate([*corners, np.array([[ordered[-1, 0], worst[1]]])]) * turn
    axes.plot(stairs[:, 0], stairs[:, 1], color="0.6", linewidth=1.2, zorder=1)
    axes.set(xlim=edges[0], ylim=edges[1])


def _point(axes: Axes, scene: Scene, name: str, own: Array, centre: Array) -> None:
    look = scene.look[name]
    face = "white" if is_anchor(scene.results, name) else look["color"]
    if len(own) > 1:
        low, high = bootstrap_band(own, samples=RESAMPLES)
        axes.plot([low[0], high[0]], [centre[1]] * 2, color=look["color"], linewidth=1.2, zorder=2)
        axes.plot([centre[0]] * 2, [low[1], high[1]], color=look["color"], linewidth=1.2, zorder=2)
    axes.plot(
        centre[0], centre[1], color=look["color"], marker=look["marker"], markerfacecolor=face,
        markersize=7, linestyle="none", label=f" {name}", zorder=3,
    )  # fmt: skip
