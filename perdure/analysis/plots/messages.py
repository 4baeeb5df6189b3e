"""What agents tell each other: who hears whom, and what returns come of how many bits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.messages import Floats, Messages, check_messages
from perdure.analysis.plots import heat
from perdure.analysis.plots.heat import Matrix
from perdure.analysis.plots.scene import MANY
from perdure.analysis.plots.style import (
    Look,
    canvas,
    format_of,
    legend,
    legend_height,
    legend_room,
    looks,
    save,
)
from perdure.analysis.statistics import bootstrap_interval
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESAMPLES = 2_000  # the end of a bar is then steady to a line's width


def plot_links(messages: Messages, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw how often each agent (row) hears each other one (column): 1 is at every step.

    Parameters
    ----------
    messages:
        What ``results.trained[name].messages()`` returned.
    path:
        A PNG, PDF or SVG file to write, if any.
    """
    if path is not None:
        format_of(path)
    check_messages(messages)
    values = messages.who_hears_whom
    # Agents are counted from 0, as `information(agent=...)` does.
    names = [str(agent) for agent in range(len(values))]
    side = min(5.0, 2.4 + 0.28 * min(len(values), MANY))
    with canvas(side + 0.9, side) as figure:
        axes = figure.subplots()
        matrix = Matrix("", values, names, names, "agent that speaks", "agent that hears")
        drawn = heat.draw(axes, matrix, (0.0, 1.0))
        figure.colorbar(drawn, ax=axes, label="share of steps", shrink=0.8, pad=0.02)
    if path is not None:
        save(figure, path)
    return figure


def plot_bits(
    heard: Mapping[str, Messages | Sequence[Messages]], path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw the return of teams against the bits that they send in a step.

    A filled point is the return with messages as they are, a hollow one at the same bits that with messages
    of other episodes, one at 0 bits that in silence. Bars are 95 % bootstrap intervals: over the seeds where
    messages of several are given, over the episodes where those of one are.

    Parameters
    ----------
    heard:
        What ``results.trained[name].messages(replica=seed)`` returned, of one seed or a list of several, by
        what it is called in the legend.
    path:
        A PNG, PDF or SVG file to write, if any.
    """
    if path is not None:
        format_of(path)
    if not isinstance(heard, Mapping) or not heard or not all(isinstance(name, str) for name in heard):
        raise PerdureError(f"expected messages by what they are called; found {shown(heard)}")
    teams = {name: _seeds(given) for name, given in heard.items()}
    from matplotlib.ticker import FuncFormatter

    look = looks(list(heard))
    with canvas(4.6 + legend_room(list(heard)), max(3.4, legend_height(list(heard)))) as figure:
        axes = figure.subplots()
        for name, seeds in teams.items():
            bits = float(np.mean([one.bits_per_step for one in seeds]))
            _point(axes, bits, _spread([one.returns for one in seeds]), look[name], "full")
            _point(axes, bits, _spread([one.returns_shuffled for one in seeds]), look[name], "none")
            _point(axes, 0.0, _spread([one.returns_silent for one in seeds]), look[name], "none")
        axes.set(xlabel="bits a step", ylabel="return (hollow: shuffled; at 0: silent)")
        # Near 0 the scale is even, so that silence has its place; beyond it goes by powers of ten.
        axes.set_xscale("symlog", linthresh=1.0)
        # Powers of ten as text: nothing here is read as a formula, so that names are not.
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(left=-0.3)
        legend(figure, look)
    if path is not None:
        save(figure, path)
    return figure


def _seeds(given: Messages | Sequence[Messages]) -> list[Messages]:
    seeds = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not seeds:
        raise PerdureError("expected what `trained[name].messages()` returns, of one seed or more; found []")
    for one in seeds:
        check_messages(one)
    return seeds


def _spread(returns: list[Floats]) -> Floats:
    # Seeds are learned apart; episodes of one seed are not, so they say nothing of another seed.
    return returns[0] if len(returns) == 1 else np.array([one.mean() for one in returns])


def _point(axes: Axes, bits: float, returns: Floats, look: Look, fill: str) -> None:
    style = {"color": look["color"], "marker": look["marker"], "fillstyle": fill}
    axes.plot([bits], [returns.mean()], markersize=7, linestyle="none", **style)
    if len(returns) > 1:
        ends = bootstrap_interval(returns, samples=RESAMPLES)
        axes.plot([bits, bits], ends, color=look["color"], linewidth=0.8)
