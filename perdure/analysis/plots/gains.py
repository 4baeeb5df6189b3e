"""Gains over single-task learning: a bar for each strategy, a point for each task, and forgetting beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import gains
from perdure.analysis.metrics.matrix import forgetting_so_far
from perdure.analysis.metrics.needs import signs
from perdure.analysis.plots import panels
from perdure.analysis.plots.labels import cut, shorten, tidy
from perdure.analysis.plots.scene import Scene
from perdure.analysis.plots.style import (
    INK,
    canvas,
    key_height,
    legend,
    legend_height,
    legend_room,
    stage_ticks,
    write_key,
)
from perdure.analysis.tables import means
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

FEW = 10  # the most tasks whose points have intervals of their own
ROOM = 30  # characters of a strategy's name


@dataclass(frozen=True)
class Found:
    """What the panel of gains shows.

    Parameters
    ----------
    scene:
        The results.
    tasks:
        Gain of each strategy on each task, as ``Results.gains`` gives it.
    bars:
        Mean gain of each strategy with its interval, as ``Results.table`` gives it.
    room:
        Characters of a strategy's name.
    """

    scene: Scene
    tasks: pd.DataFrame
    bars: pd.DataFrame
    room: int = ROOM

    @classmethod
    def of(cls, scene: Scene, room: int = ROOM) -> Found:
        """Compute them; refused where no single-task learner was run."""
        return cls(scene, gains.table(scene.results), means(scene.results, ["multi_task_gain"]), room)

    @property
    def names(self) -> list[str]:
        """Strategies that are drawn, the first on top."""
        return list(dict.fromkeys(self.tasks["strategy"]))

    @property
    def key(self) -> list[str]:
        """Full names of those that are cut."""
        return shorten(self.names, self.room).key if self.names else []

    @property
    def height(self) -> float:
        """Inches that the panel takes: more for a bar whose points are many."""
        return 0.9 + len(self.names) * min(1.1, 0.42 + 0.02 * self.scene.tasks)


def gain(results: Record) -> Figure:
    """Gain over single-task learning: bars are means over tasks, points the tasks, the first on top.

    Intervals are 95 % bootstrap intervals over seeds; those of tasks are drawn for up to 10 of them. The task
    that a strategy serves worst is named below the strategy.
    """
    found = Found.of(Scene.of(results))
    _need(found)
    width = 4.8 + 0.09 * ROOM
    with canvas(width, found.height + key_height(found.key, width)) as figure:
        draw(figure.subplots(), found)
        write_key(figure, found.key, width)
    return figure


def kept_and_gained(results: Record) -> Figure:
    """Forgetting after every stage, mean over the tasks learned before, and beside it the gains."""
    scene = Scene.of(results)
    found = Found.of(scene)
    _need(found)
    if not scene.staged or scene.tasks < 2:
        raise PerdureError(
            "expected a strategy that learns two or more tasks one after the other; found only "
            f"{', '.join(results.strategies)}: add 'naive' to the strategies"
        )
    entries = scene.legend(scene.staged)
    width = 8.2 + 0.09 * ROOM + legend_room(entries)
    height = max(3.4, found.height, legend_height(entries)) + key_height(found.key, width)
    with canvas(width, height) as figure:
        lost, gained = figure.subplots(1, 2, width_ratios=[1.0, 1.1])
        _forgetting(lost, scene)
        draw(gained, found)
        write_key(figure, found.key, width)
        legend(figure, entries)
    return figure


def _need(found: Found) -> None:
    if not found.names:
        raise PerdureError("expected a strategy beside the single-task learner; found none")


def _forgetting(axes: Axes, scene: Scene) -> None:
    turn = signs(scene.results)
    for name in scene.staged:
        values = forgetting_so_far(scene.scores[name] * turn)
        panels.line(axes, np.arange(2, scene.tasks + 1), values, scene.look[name], name)
    axes.axhline(0, color="0.4", linewidth=0.8)
    stage_ticks([axes], scene.tasks)
    axes.set(title="Forgetting", xlabel="tasks learned", ylabel="forgetting (lower is better)")


def draw(axes: Axes, found: Found) -> None:
    """Draw bars and points, and name them."""
    labels = shorten(found.names, found.room).shown
    for place, name in enumerate(found.names):
        colour = found.scene.look[name]["color"]
        bar = found.bars[found.bars["strategy"] == name].dropna(subset="mean")
        for row in bar.itertuples():
            axes.barh(place, row.mean, color=colour, height=0.8, alpha=0.45)
            if not np.isnan(row.low):
                axes.plot([row.low, row.high], [place, place], color=INK, linewidth=2.2, zorder=3)
        _points(axes, found, name, place)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set(title="Gain over single-task learning", xlabel="gain in % (higher is better)")
    axes.set_yticks(
        range(len(labels)), [_named(found, *pair) for pair in zip(found.names, labels, strict=True)]
    )
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _points(axes: Axes, found: Found, name: str, place: int) -> None:
    """Points of the tasks, one below the other inside the bar."""
    rows = found.tasks[found.tasks["strategy"] == name]
    heights = place + (np.arange(len(rows)) + 0.5) / len(rows) * 0.8 - 0.4
    colour, many = found.scene.look[name]["color"], len(rows) > FEW
    if not many:
        axes.hlines(heights, rows["low"], rows["high"], color=colour, linewidth=1.2)
    axes.scatter(
        rows["mean"], heights, s=9 if many else 20, color=colour, edgecolor="white", linewidth=0.4, zorder=4
    )


def _named(found: Found, name: str, shown: str) -> str:
    """Return a strategy's name with the task that it serves worst."""
    text = found.scene.marked(name, shown, "\n")
    rows = found.tasks[(found.tasks["strategy"] == name) & found.tasks["worst"]]
    if found.scene.tasks < 2 or not len(rows):
        return text
    return f"{text}\nworst: {cut(tidy(rows['task_name'].iloc[0]), found.room - 7)}"
