"""What each stage did to every other task: isolated forgetting below the diagonal, transfer above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import changes
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.plots import heat
from perdure.analysis.plots.conflicts import COLOURS, limits
from perdure.analysis.plots.heat import Matrix
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.scene import Scene, mean_where_known
from perdure.analysis.plots.style import canvas, grid, key_height, lay_out, write_key
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

WIDEST = 4  # matrices in a row
LABEL = "relative change of the score"


def transfer(results: Record) -> Figure:
    """Change of the score on each task (column) by each stage (row), mean over seeds, a panel per strategy.

    Below the diagonal, negative: forgetting of the tasks before (isolated forgetting of CORA). Above it:
    transfer to the tasks to come (zero-shot transfer), where the untrained model was scored.
    """
    scene = Scene.of(results)
    found, key = matrices(scene, 28)
    if not found:
        raise PerdureError(
            "expected a strategy that learns at least 2 tasks one after the other; found only "
            f"{', '.join(results.strategies)}"
        )
    side = min(3.4, max(2.3, 0.4 * scene.tasks + 1))
    rows, columns = grid(len(found), WIDEST)
    width = max(columns * side, 3.2) + 0.9
    with canvas(width, rows * side + 0.5 + key_height(key, width)) as figure:
        axes = lay_out(figure, len(found), WIDEST)
        for panel, one in zip(axes, found, strict=True):
            drawn = heat.draw(panel, one, limits(found), COLOURS)
        figure.colorbar(drawn, ax=axes, label=LABEL, shrink=0.7, pad=0.02, panchor=False)
        write_key(figure, key, width)
    return figure


def matrices(scene: Scene, room: int) -> tuple[list[Matrix], list[str]]:
    """Matrices of all strategies that learn task after task, and the key to the names that were cut."""
    names = scene.staged if scene.tasks > 1 else []
    labels = shorten(names, room)
    return [
        Matrix(scene.marked(name, short, "\n"), _values(scene, name), [], across="task", down="stage")
        for name, short in zip(names, labels.shown, strict=True)
    ], labels.key


def _values(scene: Scene, name: str) -> Array:
    """Minus isolated forgetting and zero-shot transfer in one matrix, meaned over replicas."""
    below = -mean_where_known(changes.isolated_forgetting(scene.results, name))
    if name not in scene.results.untrained:
        return below
    above = mean_where_known(changes.zero_shot_transfer(scene.results, name))
    return np.where(np.isnan(below), above, below)
