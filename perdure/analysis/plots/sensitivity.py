"""The figure of how far modules move."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perdure.analysis.plots.style import canvas, format_of, legend_room, save
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEEDED = ("seed", "task", "epoch", "module", "sensitivity")
# Modules in a column of the legend.
TALLEST = 12


def plot_sensitivity(frame: pd.DataFrame, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the sensitivity of each module along the epochs of all tasks; dotted lines part the tasks.

    Parameters
    ----------
    frame:
        What :func:`perdure.measure_sensitivity` returned.
    path:
        A PNG, PDF or SVG file to write, if any. Bands are 95 % bootstrap intervals over seeds.

    Raises
    ------
    PerdureError
        When the frame is empty or lacks a column, or the file cannot be written.
    """
    if path is not None:
        format_of(path)
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise PerdureError(f"expected a column {missing[0]!r}; found {', '.join(map(str, frame.columns))}")
    if not len(frame):
        raise PerdureError("expected measurements; found an empty frame")
    import seaborn
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    ends = frame.groupby("task")["epoch"].max().cumsum()
    before = ends.shift(fill_value=0)
    data = frame.assign(place=frame["epoch"] + frame["task"].map(before), module=frame["module"].map(_shown))
    names = [str(name) for name in data["module"].unique()]
    columns = -(-len(names) // TALLEST)
    with canvas(5.2 + columns * legend_room(names), 3.4) as figure:
        axes = figure.subplots()
        seaborn.lineplot(
            data, x="place", y="sensitivity", hue="module", style="module", markers=True, dashes=False,
            palette="colorblind" if len(names) <= 10 else "viridis", seed=0, ax=axes,
        )  # fmt: skip
        for end in list(ends)[:-1]:
            axes.axvline(end + 0.5, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="epoch", ylabel="mean absolute move of a weight", yscale="log")
        # Powers of ten as text: nothing here is read as a formula, so that names are not.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        seaborn.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), frameon=False, ncols=columns)
    if path is not None:
        save(figure, path)
    return figure


def _shown(name: object) -> str:
    """Return a module's name; matplotlib passes over those in a legend that start with an underscore."""
    text = str(name)
    return f" {text}" if text.startswith("_") else text
