"""The figure of what preferences bring: two tasks against each other, and the score that was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perdure.analysis.diverged import Mask, counted
from perdure.analysis.metrics.matrix import Array, mean
from perdure.analysis.plots.labels import cut, tidy
from perdure.analysis.plots.style import (
    canvas,
    format_of,
    legend,
    legend_height,
    legend_room,
    looks,
    save,
)
from perdure.analysis.statistics import bootstrap_band
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESAMPLES = 2_000  # a band's edge is then steady to a line's width
NAME = 40  # characters of a task's name beside an axis


def plot_front(
    scores: Mapping[str, npt.ArrayLike],
    preferences: npt.ArrayLike,
    tasks: tuple[int, int] = (0, 1),
    names: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    metric: str = "accuracy",
) -> Figure:
    """Draw what methods reach when asked for preferences between two tasks.

    Left, the scores of the two tasks against each other, a point per preference, joined in the order of the
    second task's weight; up and right is better. Right, the preference-weighted score ``sum_t w_t score_t``
    against that weight. Bars and bands are 95 % bootstrap intervals over replicas. Replicas with scores that
    are not finite diverged: they are left out, and the legend says how many.

    Parameters
    ----------
    scores:
        For each method ``[replica, preference, task]``.
    preferences:
        ``[preference, task]``, as ``[[1, 0], [0.5, 0.5], [0, 1]]``.
    tasks:
        Which two.
    names:
        Names of all tasks.
    path:
        A PNG, PDF or SVG file to write, if any.
    metric:
        What the axes call a score.
    """
    if path is not None:
        format_of(path)
    weights = np.asarray(preferences, dtype=np.float64)
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    _check(arrays, weights, tasks, names)
    first, second = tasks
    titles = [f"task {t + 1}" for t in range(weights.shape[1])] if names is None else list(names)
    titles = [cut(tidy(title), NAME) for title in titles]
    order, look = np.argsort(weights[:, second], kind="stable"), looks(list(arrays))
    entries = {name + _mark(values): look[name] for name, values in arrays.items()}
    with canvas(7.2 + legend_room(list(entries)), max(3.5, legend_height(list(entries)))) as figure:
        plane, gain = figure.subplots(1, 2)
        for name, found in arrays.items():
            values = found[_finite(found)]
            if not len(values):
                continue
            style = {"color": look[name]["color"], "linestyle": look[name]["line"]}
            x, y = values[:, order, first], values[:, order, second]
            plane.plot(mean(x, axis=0), mean(y, axis=0), marker=look[name]["marker"], label=name, **style)
            wanted = (values * weights).sum(-1)[:, order]
            gain.plot(weights[order, second], mean(wanted, axis=0), marker=look[name]["marker"], **style)
            if len(values) > 1:
                _bars(plane, x, y, style["color"])
                band = bootstrap_band(wanted, samples=RESAMPLES)
                gain.fill_between(weights[order, second], *band, color=style["color"], alpha=0.2, linewidth=0)
        plane.set(xlabel=f"{metric} on {titles[first]}", ylabel=f"{metric} on {titles[second]}")
        gain.set(xlabel=f"preference for {titles[second]}", ylabel=f"preference-weighted {metric}")
        legend(figure, entries)
    if path is not None:
        save(figure, path)
    return figure


def _finite(values: Array) -> Mask:
    """Replicas all of whose scores are finite; the others diverged."""
    return np.asarray(np.isfinite(values).all(axis=(1, 2)))


def _mark(values: Array) -> str:
    mark = counted(~_finite(values))
    return f" ({mark})" if mark else ""


def _bars(axes: Axes, x: Array, y: Array, color: object) -> None:
    """Intervals of the points ``x``, ``y`` ``[replica, preference]`` along both axes."""
    for low, high, level in zip(*bootstrap_band(x, samples=RESAMPLES), mean(y, axis=0), strict=True):
        axes.plot([low, high], [level, level], color=color, linewidth=0.8, alpha=0.5)
    for low, high, level in zip(*bootstrap_band(y, samples=RESAMPLES), mean(x, axis=0), strict=True):
        axes.plot([level, level], [low, high], color=color, linewidth=0.8, alpha=0.5)


def _check(
    scores: Mapping[str, Array], weights: Array, tasks: tuple[int, int], names: Sequence[str] | None
) -> None:
    if weights.ndim != 2 or not len(weights):
        raise PerdureError(f"expected preferences [preference, task]; found shape {list(weights.shape)}")
    if not scores:
        raise PerdureError("expected the scores of at least one method; found none")
    for name, values in scores.items():
        if values.ndim != 3 or values.shape[1:] != weights.shape or not len(values):
            raise PerdureError(
                f"expected scores [replica, {', '.join(map(str, weights.shape))}] of {name!r}; "
                f"found shape {list(values.shape)}"
            )
    count = weights.shape[1]
    if len(tasks) != 2 or len(set(tasks)) < 2 or not all(0 <= t < count for t in tasks):
        raise PerdureError(f"tasks must be two different numbers in [0, {count}); found {tasks}")
    if names is not None and len(names) != count:
        raise PerdureError(f"names must be those of all {count} tasks; found {len(names)}")
