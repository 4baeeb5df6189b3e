"""How figures look: palette, panels, legends outside the data, files."""

from __future__ import annotations

import io
import os
import textwrap
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.analysis.files import write_beside
from perdure.analysis.plots.labels import folded
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

FORMATS = ("png", "pdf", "svg")
WIDTH = 1.6  # of a line, in points
MARKERS = "osD^vPX*<>"
# The report shows these three in the colours of the page, light or dark.
INK, EDGE, GRID = "#262626", "#666666", "#ebebeb"
Look = dict[str, Any]


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure in Perdure's style; no window, no pyplot state, settings restored after it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _theme():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


@contextmanager
def _theme(**more: Any) -> Iterator[None]:
    """Perdure's style; also needed when a figure is written, as ticks are made as late as that."""
    import matplotlib
    import seaborn

    theme = {
        **seaborn.axes_style("ticks"),
        **seaborn.plotting_context("notebook", font_scale=0.85),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.titlesize": "medium",
        "axes.labelcolor": INK,
        "grid.color": GRID,
        "axes.edgecolor": EDGE,
        "lines.linewidth": WIDTH,
        "lines.markersize": 4.5,
        "text.color": INK,
        "text.parse_math": False,  # a dollar in a name is a dollar
        "axes.formatter.use_mathtext": False,
        "xtick.color": INK,
        "ytick.color": INK,
        **more,
    }
    with matplotlib.rc_context(theme), warnings.catch_warnings():
        # What a font lacks is drawn as a box, which says it better than a warning for every letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def looks(strategies: Sequence[str], turns: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Look]:
    """Colour, marker and dashes of every strategy: colour-blind safe, and told apart in grey too.

    After ten strategies the colours come again, with the next marker and with dots in the line.

    Parameters
    ----------
    strategies:
        Their names.
    turns:
        For a strategy whose line coincides with others: its place among them, and how many they are. Their
        dashes fall into each other's gaps, so that all are seen.
    """
    import seaborn

    colours = seaborn.color_palette("colorblind", 10)
    found = {}
    for i, name in enumerate(strategies):
        place, count = (turns or {}).get(name, (i % 2, 2))
        found[name] = {
            "color": colours[i % 10],
            "marker": MARKERS[(i + i // 10) % len(MARKERS)],
            "dashes": _in_turn(place, count, i // 10, 3.0),
            "line": _in_turn(place, count, i // 10, 4.0) if turns and name in turns else _own_line(i),
            "width": WIDTH,
            "turn": (place, count) if turns and name in turns else (0, 1),
        }
    return found


def _own_line(index: int) -> Any:
    """Line style of a strategy: every second has gaps, and each further ten have one dot more."""
    dots = index // 10
    if not dots:
        return (0, (2.2, 1.4)) if index % 2 else "-"
    return (0, (2.2 if index % 2 else 6.0, 1.4, *(0.8, 1.4) * dots))


def _in_turn(place: int, count: int, cuts: int, length: float) -> Any:
    """Dashes of which ``count`` lines fill each other's gaps; ``cuts`` tells two of one colour apart."""
    pieces = 2 * cuts + 1
    gap = length * (count - 1)
    return (length * (-place % count), (*[length / pieces] * pieces, gap))


def marker_places(count: int, look: Look) -> tuple[int, int]:
    """First and step of those of ``count`` points that carry a marker: few enough to be told apart."""
    place, others = look["turn"]
    step = max(others, -(-count // 15))
    return place * step // others % count, step


def grid(count: int, widest: int) -> tuple[int, int]:
    """Rows and columns for ``count`` panels: at most ``widest`` to a row, rows about equally full."""
    rows = -(-count // widest)
    return rows, -(-count // rows)


def lay_out(figure: Figure, count: int, widest: int, **shared: Any) -> list[Axes]:
    """Lay out ``count`` panels in rows and return them; the places left over stay empty."""
    rows, columns = grid(count, widest)
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).ravel())
    for spare in axes[count:]:
        spare.remove()
    for above in axes[max(0, count - columns) : count]:
        above.tick_params(labelbottom=True)  # the last panel of each column carries the axis
    return axes[:count]


def legend_room(names: Collection[str]) -> float:
    """Inches that a legend with these names takes beside the panels."""
    handle = 0.75 if len(names) <= 10 else 1.1
    return handle + 0.085 * max(len(line) for name in names for line in folded(name).split("\n"))


def legend_height(names: Collection[str]) -> float:
    """Inches that a legend with these names takes from top to bottom."""
    return 0.3 + sum(0.06 + 0.15 * (1 + folded(name).count("\n")) for name in names)


def legend(figure: Figure, entries: Mapping[str, Look], levels: Sequence[str] = ()) -> None:
    """One legend for all panels, outside of them; ``levels`` are drawn as dashed lines without markers."""
    from matplotlib.lines import Line2D

    # Handles of its own: matplotlib passes over lines whose names start with an underscore.
    handles = [
        Line2D([], [], color=look["color"], linestyle=look["dashes"])
        if name in levels
        else Line2D(
            [],
            [],
            color=look["color"],
            linestyle=look["line"],
            linewidth=look["width"],
            marker=look["marker"],
        )
        for name, look in entries.items()
    ]
    names = [folded(name) for name in entries]
    # Long enough to tell the lines of one colour apart, which beyond ten differ in their dots.
    length = 2.6 if len(entries) <= 10 else 5.2
    figure.legend(handles, names, loc="outside right upper", frameon=False, handlelength=length)


def key_height(key: Sequence[str], width: float) -> float:
    """Inches that :func:`write_key` takes."""
    return 0.15 * len(_key_lines(key, width)) + 0.1 if key else 0.0


def write_key(figure: Figure, key: Sequence[str], width: float) -> None:
    """Write the full names of what was cut below the panels."""
    if key:
        text = "\n".join(_key_lines(key, width))
        figure.supxlabel(text, x=0.01, ha="left", multialignment="left", fontsize="small")


def _key_lines(key: Sequence[str], width: float) -> list[str]:
    letters = int(width / 0.082)
    return [line for entry in key for line in textwrap.wrap(entry, letters, subsequent_indent="    ")]


def score_limits(results: Record, axes: Sequence[Axes]) -> None:
    """Show accuracies on their whole scale, 0 to 1; leave other scores to the data."""
    if results.config.get("metric") == "accuracy":
        for panel in axes:
            panel.set_ylim(-0.03, 1.03)


def stage_ticks(axes: Sequence[Axes], tasks: int) -> None:
    """Whole numbers below the stages, few enough to be read."""
    ticks = round_ticks(tasks) if tasks > 20 else range(1, tasks + 1, max(1, -(-tasks // 7)))
    for panel in axes:
        panel.set_xlim(1 - 0.04 * tasks - 0.1, tasks + 0.04 * tasks + 0.1)
        panel.set_xticks(ticks)


def round_ticks(count: int) -> list[int]:
    """Return 1 and at most five numbers up to ``count`` at a distance of 1, 2 or 5 times a power of ten.

    >>> round_ticks(200)
    [1, 50, 100, 150, 200]
    """
    distances = (unit * 10**power for power in range(12) for unit in (1, 2, 5))
    step = next(distance for distance in distances if distance * 5 >= count)
    return [1, *range(step, count + 1, step)] if step > 1 else list(range(1, count + 1))


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a PNG, PDF or SVG file."""
    write_beside(path, content(figure, format_of(path), dpi=150))


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that the ending of a file's name asks for."""
    target = Path(path)
    suffix = target.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise PerdureError(f"expected a file that ends in .{', .'.join(FORMATS)}; found {target.name!r}")
    return suffix


def content(figure: Figure, suffix: str, theme: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    """Return the file of a figure."""
    buffer = io.BytesIO()
    with _theme(**(theme or {})):
        figure.savefig(buffer, format=suffix, **options)
    return buffer.getvalue()
