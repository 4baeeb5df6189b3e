"""Figures of results: each draws what a metric or a statistics function returned, and nothing else.

Every function returns a matplotlib ``Figure``. Bands and bars are 95 % bootstrap intervals over seeds; level
dashed lines are strategies that learned all tasks at once. Replicas that diverged are left out, as the legend
says. Names that are too long for their place are cut, with a key below the panels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.analysis.metrics import needs
from perdure.analysis.plots import heat, panels
from perdure.analysis.plots.conflicts import conflict_figure
from perdure.analysis.plots.film import films
from perdure.analysis.plots.fronts import strategy_front
from perdure.analysis.plots.gains import gain, kept_and_gained
from perdure.analysis.plots.heat import Matrix
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.panels import RESAMPLES
from perdure.analysis.plots.plasticity import plasticity_figure
from perdure.analysis.plots.scene import MANY, Scene
from perdure.analysis.plots.style import (
    canvas,
    format_of,
    grid,
    key_height,
    lay_out,
    legend,
    legend_height,
    legend_room,
    save,
    score_limits,
    stage_ticks,
    write_key,
)
from perdure.analysis.plots.transfer import transfer
from perdure.analysis.wellformed import is_whole
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

__all__ = [
    "RESAMPLES",
    "average_curves",
    "comparison",
    "conflict_figure",
    "confusion",
    "evaluation_curves",
    "films",
    "finished",
    "forgetting_curves",
    "gain",
    "kept_and_gained",
    "matrices",
    "plasticity_figure",
    "save",
    "strategy_front",
    "transfer",
]

WIDEST = 5  # panels in a row


def finished(
    make: Callable[..., Figure], results: Record, path: str | os.PathLike[str] | None, *wishes: Any
) -> Figure:
    """Make a figure of results, and write it where there is a path, whose ending is looked at first."""
    if path is not None:
        format_of(path)
    figure = make(results, *wishes)
    if path is not None:
        save(figure, path)
    return figure


def forgetting_curves(results: Record) -> Figure:
    """Score on each task after every stage, a panel per task; a dotted line marks the task's own stage.

    With more than 20 tasks: the average over the tasks seen, and below it the matrix of every strategy.
    """
    scene = Scene.of(results)
    if scene.tasks > MANY:
        return _many_tasks(scene)
    titles = shorten(results.tasks, 24)
    entries = scene.legend(results.strategies)
    rows, columns = grid(scene.tasks, WIDEST)
    width = max(columns * 2.3, 3.2) + legend_room(entries)
    height = max(rows * 2.1 + 0.5, legend_height(entries)) + key_height(titles.key, width)
    with canvas(width, height) as figure:
        axes = lay_out(figure, scene.tasks, WIDEST, sharex=True, sharey=True)
        for index, (panel, title) in enumerate(zip(axes, titles.shown, strict=True)):
            panels.task(panel, scene, index)
            panel.set_title(title)
        stage_ticks(axes, scene.tasks)
        score_limits(results, axes)
        _name_axes(figure, axes[-columns:], "tasks learned", titles.key, width)
        figure.supylabel(scene.score_name, fontsize="medium")
        legend(figure, entries, scene.levels_marked)
    return figure


def _many_tasks(scene: Scene) -> Figure:
    found, key = heat.matrices(scene, 26)
    entries = scene.legend(scene.results.strategies)
    rows, columns = grid(len(found), 4)
    room = max(legend_room(entries), 1.2)
    width = max(columns * 2.8, 5.2) + room
    height = max(3.2 + rows * 3.0, legend_height(entries)) + key_height(key, width)
    with canvas(width, height) as figure:
        places = figure.add_gridspec(1 + rows, columns, height_ratios=[3.0, *[2.8] * rows])
        top = figure.add_subplot(places[0, :])
        _draw_average(scene, top)
        below = [
            figure.add_subplot(places[1 + index // columns, index % columns]) for index in range(len(found))
        ]
        _draw_matrices(figure, scene, below, found)
        write_key(figure, key, width)
        legend(figure, entries, scene.levels_marked)
    return figure


def average_curves(results: Record) -> Figure:
    """Average over the tasks seen so far, after every stage."""
    scene = Scene.of(results)
    entries = scene.legend(results.strategies)
    with canvas(5.2 + legend_room(entries), max(3.6, legend_height(entries))) as figure:
        _draw_average(scene, figure.subplots())
        legend(figure, entries, scene.levels_marked)
    return figure


def _draw_average(scene: Scene, axes: Axes) -> None:
    panels.average(axes, scene)
    stage_ticks([axes], scene.tasks)
    score_limits(scene.results, [axes])
    axes.set(xlabel="tasks learned", ylabel=f"{scene.score_name}, mean over tasks seen")


def matrices(results: Record) -> Figure:
    """Score after each stage (row) on each task (column), mean over seeds, a panel per strategy.

    Strategies that learned all tasks at once have one row each, in a panel of their own.
    """
    scene = Scene.of(results)
    side = min(3.4, max(2.3, 0.4 * scene.tasks + 1))
    found, key = heat.matrices(scene, int(side * 9))
    rows, columns = grid(len(found), WIDEST)
    width = max(columns * side, 3.2) + 0.8
    with canvas(width, rows * side + 0.5 + key_height(key, width)) as figure:
        axes = lay_out(figure, len(found), WIDEST)
        _draw_matrices(figure, scene, axes, found)
        write_key(figure, key, width)
    return figure


def confusion(results: Record, strategy: str, stage: int = -1) -> Figure:
    """Confusion matrix of a strategy after a stage: rows are labels, columns answers, as shares."""
    stages = needs.confusion(results, strategy).shape[1]
    if not is_whole(stage) or not -stages <= stage < stages:
        raise PerdureError(
            f"stage must be a whole number from {-stages} to {stages - 1}; found {shown(stage)}"
        )
    matrix = heat.confusion(Scene.of(results), strategy, stage)
    side = min(9.0, 2.2 + 0.34 * len(matrix.values))
    with canvas(side + 1.0, side) as figure:
        colours = heat.draw(figure.subplots(), matrix, (0.0, 1.0))
        figure.colorbar(colours, ax=figure.axes, label="share of the label", shrink=0.7, pad=0.02)
    return figure


def _draw_matrices(figure: Figure, scene: Scene, axes: list[Axes], found: list[Matrix]) -> None:
    limits = heat.colour_limits(scene, found)
    colours = [heat.draw(panel, matrix, limits) for panel, matrix in zip(axes, found, strict=True)]
    # Without panchor=False the bar would move the panels' anchors.
    figure.colorbar(colours[0], ax=axes, label=scene.score_name, shrink=0.7, pad=0.02, panchor=False)


def comparison(results: Record) -> Figure:
    """Average accuracy and forgetting of the strategies side by side, with intervals."""
    scene = Scene.of(results)
    metrics = compared(scene)
    count = len(results.strategies)
    width = 0.09 * min(30, max(map(len, results.strategies))) + 3.4 * len(metrics)
    key = shorten(results.strategies, 30).key
    with canvas(width, 0.8 + 0.36 * count + key_height(key, width)) as figure:
        axes = list(figure.subplots(1, len(metrics), squeeze=False, sharey=True).ravel())
        for panel, metric in zip(axes, metrics, strict=True):
            panels.bars(panel, scene, metric)
        panels.bar_names(axes[0], scene)
        write_key(figure, key, width)
    return figure


def compared(scene: Scene) -> list[str]:
    """Metrics that strategies are compared by."""
    return ["average_accuracy", "forgetting"] if scene.staged and scene.tasks > 1 else ["average_accuracy"]


def evaluation_curves(results: Record) -> Figure:
    """Scores during training, a panel per task; dotted lines are task switches (stability gap).

    Every strategy runs along the stream, in tasks, however many steps it takes; or in steps of the
    environment, where they are known and the same for all. With more than 20 tasks: the average over the
    tasks seen.
    """
    scene = Scene.of(results)
    names = with_curves(scene)
    if not names:
        raise PerdureError(
            "expected evaluation curves of a strategy that learns task after task; found none: run with "
            "eval_every set"
        )
    along = panels.Along.of(scene, names)
    indices: Sequence[int | None] = range(scene.tasks) if scene.tasks <= MANY else [None]
    titles = shorten(results.tasks, 40 if len(indices) > 5 else 80)
    widest = 1 if len(indices) <= 5 else 2
    entries = scene.legend(names)
    rows, columns = grid(len(indices), widest)
    width = 7.0 + legend_room(entries)
    key = titles.key if scene.tasks <= MANY else []
    height = max(rows * (1.5 if scene.tasks <= MANY else 3.2) + 0.5, legend_height(entries))
    with canvas(width, height + key_height(key, width)) as figure:
        axes = lay_out(figure, len(indices), widest, sharex=True, sharey=True)
        for index, panel in zip(indices, axes, strict=True):
            panels.training(panel, scene, along, index)
            title = "mean over tasks seen" if index is None else titles.shown[index]
            panel.set_title(title, loc="left", fontsize="small")
        score_limits(results, axes)
        _name_axes(figure, axes[-columns:], along.label, key, width)
        figure.supylabel(scene.score_name, fontsize="medium")
        legend(figure, entries)
    return figure


def with_curves(scene: Scene) -> list[str]:
    """Strategies that were scored during training and learn task after task."""
    return [name for name in scene.staged if name in scene.results.curves]


def _name_axes(figure: Figure, lowest: list[Axes], name: str, key: list[str], width: float) -> None:
    """Name the horizontal axis once; the key, where there is one, takes that place."""
    if not key:
        figure.supxlabel(name, fontsize="medium")
        return
    for panel in lowest:
        panel.set_xlabel(name)
    write_key(figure, key, width)
