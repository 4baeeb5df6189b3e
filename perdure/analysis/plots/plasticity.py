"""Plasticity along the stream: how well each task is learned, and what the hidden units are like after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import hidden_units
from perdure.analysis.diverged import Mask, diverged
from perdure.analysis.metrics.matrix import plasticity
from perdure.analysis.plots import panels
from perdure.analysis.plots.scene import Scene
from perdure.analysis.plots.style import (
    WIDTH,
    canvas,
    lay_out,
    legend,
    legend_height,
    legend_room,
    stage_ticks,
)
from perdure.analysis.statistics import bootstrap_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

LEARNED = "learned"


def plasticity_figure(results: Record) -> Figure:
    """Score on each task when it was learned, dormant units, effective rank and mean |weight|, by task."""
    scene = even(Scene.of(results))
    names = hidden_units.needed(results)
    shown = measures(scene, names)
    entries = scene.legend(names)
    with canvas(7.4 + legend_room(entries), max(5.2, legend_height(entries))) as figure:
        for axes, measure in zip(lay_out(figure, len(shown), 2), shown, strict=True):
            draw(axes, scene, names, measure)
        legend(figure, entries)
    return figure


def even(scene: Scene) -> Scene:
    """Give all lines one width: which of them lie on each other by their scores does not matter here."""
    return replace(scene, look={name: {**look, "width": WIDTH} for name, look in scene.look.items()})


def measures(scene: Scene, names: Sequence[str]) -> list[str]:
    """Name what is drawn: scores of tasks when they were learned, where there are stages, and the rest."""
    staged = any(name not in scene.levels for name in names)
    return [*([LEARNED] if staged else []), *hidden_units.MEASURES]


def draw(axes: Axes, scene: Scene, names: Sequence[str], measure: str) -> None:
    """Draw one measure of some strategies along the stream."""
    for name in names:
        if measure != LEARNED:
            found = hidden_units.of(scene.results, name)
            kept: Mask = ~diverged(scene.results, name)
            values = found.values[measure][kept]
            panels.line(axes, found.tasks + 1, values, scene.look[name], name)
            if len(found.tasks) == 1 < len(values):
                # A band has no width here.
                axes.vlines(found.tasks + 1, *bootstrap_band(values), color=scene.look[name]["color"])
        elif name not in scene.levels:
            learned = plasticity(scene.scores[name])
            panels.line(axes, np.arange(1, scene.tasks + 1), learned, scene.look[name], name)
    stage_ticks([axes], scene.tasks)
    if measure == LEARNED:
        # Not on the whole scale of scores: what matters is a fall of a few hundredths.
        axes.set(title="learning accuracy", xlabel="task", ylabel=scene.score_name)
    else:
        axes.set(title=hidden_units.MEASURES[measure], xlabel="task")
        axes.set_ylim(bottom=0)
