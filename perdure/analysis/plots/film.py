"""What a policy does: moments of an episode side by side, and an episode as a GIF."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perdure.analysis.files import write_beside
from perdure.analysis.film import Frames, Strip, check_frames, needed
from perdure.analysis.metrics import needs
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.style import canvas, format_of, key_height, save, write_key
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

WIDTH = 8.0  # of a figure, in inches
GAP = 0.06  # between two pictures, as a share of their width
FASTEST = 50.0  # pictures a second that viewers of GIFs keep to


def plot_filmstrip(
    rows: Mapping[str, Frames],
    path: str | os.PathLike[str] | None = None,
    steps: Mapping[str, Sequence[int]] | None = None,
) -> Figure:
    """Draw moments of episodes: a row for each, its pictures from left to right.

    Parameters
    ----------
    rows:
        Pictures ``[n, height, width, 3]`` uint8 by the title of their row.
    path:
        Where to write the figure: PNG, PDF or SVG.
    steps:
        Numbers to stand below the pictures of a row, by its title.

    Raises
    ------
    PerdureError
        Without rows, for what are no pictures, and for numbers that are not one for each of them.
    """
    if path is not None:
        format_of(path)
    below = {title: list((steps or {}).get(title, [])) for title in rows}
    for title, frames in rows.items():
        check_frames(frames)
        if below[title] and len(below[title]) != len(frames):
            raise PerdureError(
                f"expected a number for each of the {len(frames)} pictures of {shown(title)}; found "
                f"{len(below[title])}"
            )
    if not rows:
        raise PerdureError("expected a row of pictures at least; found none")
    figure = _figure([Row(title, frames, below[title]) for title, frames in rows.items()])
    if path is not None:
        save(figure, path)
    return figure


class Row(NamedTuple):
    """Pictures of an episode, what stands above them, and the numbers below."""

    title: str
    frames: Frames
    steps: list[int]


def _figure(rows: Sequence[Row]) -> Figure:
    count = max(len(row.frames) for row in rows)
    strips = [_strip(row.frames, count) for row in rows]
    heights = [WIDTH * strip.shape[0] / strip.shape[1] for strip in strips]
    names = shorten([row.title for row in rows], 90)
    room = 0.35 + (0.2 if any(row.steps for row in rows) else 0.0)
    with canvas(WIDTH, sum(heights) + room * len(rows) + key_height(names.key, WIDTH)) as figure:
        panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, strip, name, row in zip(panels, strips, names.shown, rows, strict=True):
            _draw(axes, strip, count, name, row.steps)
        write_key(figure, names.key, WIDTH)
    return figure


def _strip(frames: Frames, count: int) -> Frames:
    """Put pictures side by side, with white between them and in the place of those that there are not."""
    height, width = frames.shape[1:3]
    gap = max(1, round(GAP * width))
    strip = np.full((height, count * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, frame in enumerate(frames):
        strip[:, i * (width + gap) :][:, :width] = frame
    return strip


def _draw(axes: Axes, strip: Frames, count: int, title: str, steps: Sequence[int]) -> None:
    axes.imshow(strip, interpolation="antialiased")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize="small")
    places = (np.arange(len(steps)) + 0.5) / count * strip.shape[1]
    axes.set_xticks(places, [str(step) for step in steps])
    axes.tick_params(length=0, labelsize="x-small", pad=1)
    axes.set_yticks([])


def films(results: Record, strategy: str) -> Figure:
    """What a strategy's policy does in each task, when it was just learned and at the end."""
    return _figure(
        [
            Row(title_of(results, strategy, strip), strip.frames(), strip.steps)
            for strip in in_order(results, strategy)
        ]
    )


def in_order(results: Record, strategy: str) -> list[Strip]:
    """Return the strips of a strategy, task by task."""
    needs.check_strategy_name(results, strategy)
    return sorted(needed(results, strategy), key=lambda strip: (strip.task, strip.stage))


def title_of(results: Record, strategy: str, strip: Strip, names: Sequence[str] = ()) -> str:
    """Say what a strip shows: task, stage, and how the episode ended.

    ``names`` are what tasks are called, where it is not by their names.
    """
    last = strip.stage == results.scores[strategy].shape[1] - 1
    when, steps = "at the end" if last else "just learned", strip.steps[-1]
    counted = f"{steps} step" if steps == 1 else f"{steps} steps"
    mean = results.scores[strategy][0, strip.stage, strip.task]
    of_all = "" if np.isclose(mean, strip.score) else f" (mean of all episodes {mean:.4g})"
    return f"{(names or results.tasks)[strip.task]}, {when}: {counted}, return {strip.score:.4g}{of_all}"


def write_gif(frames: Frames, path: str | os.PathLike[str], rate: float = 25.0) -> None:
    """Write pictures as a GIF that plays again and again.

    Parameters
    ----------
    frames:
        Pictures in order, ``[n, height, width, 3]`` uint8.
    path:
        The file, which must end in ``.gif``.
    rate:
        Pictures a second, up to 50. The format counts hundredths of a second.

    Raises
    ------
    PerdureError
        For another ending, for what are no pictures, and for a rate out of its range.
    """
    from PIL import Image

    if Path(path).suffix.lower() != ".gif":
        raise PerdureError(f"expected a file that ends in .gif; found {Path(path).name!r}")
    if not isinstance(rate, int | float) or not 0 < rate <= FASTEST:
        raise PerdureError(f"rate must lie in (0, {FASTEST:g}]; found {shown(rate)}")
    images = [Image.fromarray(frame) for frame in check_frames(frames)]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=round(100 / rate) * 10, loop=0
    )
    write_beside(path, buffer.getvalue())
