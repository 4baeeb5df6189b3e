"""The figures of the report: small drawings that flow with the width of the page, in its colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from perdure.analysis import conflicts, film, hidden_units
from perdure.analysis.diverged import sentence
from perdure.analysis.metrics.needs import baseline
from perdure.analysis.metrics.worlds import ENVIRONMENT, is_world
from perdure.analysis.plots import conflicts as clashes
from perdure.analysis.plots import figures as plots
from perdure.analysis.plots import gains, heat, panels, plasticity
from perdure.analysis.plots import transfer as changes
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.scene import MANY, Scene
from perdure.analysis.plots.style import (
    EDGE,
    GRID,
    INK,
    canvas,
    content,
    score_limits,
    stage_ticks,
)
from perdure.analysis.report import films

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perdure.analysis.record import Record

Draw = Callable[["Axes", int], None]
# What is drawn in these colours takes those of the page, which change in the dark.
COLOURS = {INK: "var(--ink)", EDGE: "var(--soft)", GRID: "var(--line)"}


class Entry(NamedTuple):
    """An entry of a legend: an SVG image of its line, and its name."""

    line: str
    name: str


class Picture(NamedTuple):
    """Drawings with a caption: SVG elements, a legend and a key to names that were cut."""

    title: str
    caption: str
    drawings: list[str]
    legend: list[Entry]
    key: list[str]


def pictures(results: Record) -> Iterator[Picture]:
    """Give the figures of the report in their order."""
    scene = Scene.of(results)
    legend = [_entry(scene, name) for name in results.strategies]
    lost = " Replicas that diverged are left out." if sentence(results) else ""
    level = " Level dashed lines: learned all tasks at once." if scene.levels else ""
    bands = f"Bands: 95 % bootstrap intervals over seeds.{level}{lost}"
    if scene.tasks <= MANY:
        yield _forgetting(scene, bands, legend)
    if baseline(results, "single") is not None:
        yield _gain(scene, lost)
    yield Picture(
        "Average over the tasks seen",
        f"Mean {scene.score_name} over the tasks learned so far. {bands}",
        _drawings(scene, "average", 1, (4.8, 3.2), lambda axes, _: _average(axes, scene)),
        legend,
        [],
    )
    yield _comparison(scene, lost)
    yield _matrices(scene, lost)
    yield from _transfer(scene, lost)
    yield from _correlations(scene)
    yield from _confusions(scene, lost)
    if conflicts.watched(results):
        yield _conflicts(scene, lost, legend)
    if hidden_units.watched(results):
        yield _plasticity(plasticity.even(scene), lost)
    if plots.with_curves(scene):
        yield _training(scene, lost, legend)
    if film.filmed(results):
        yield _films(results)


def _forgetting(scene: Scene, bands: str, legend: list[Entry]) -> Picture:
    titles = shorten(scene.results.tasks, 22)

    def draw(axes: Axes, index: int) -> None:
        panels.task(axes, scene, index)
        axes.set(title=titles.shown[index], xlabel="tasks learned", ylabel=scene.score_name)
        stage_ticks([axes], scene.tasks)
        score_limits(scene.results, [axes])

    drawings = _drawings(scene, "forgetting", scene.tasks, (2.25, 1.95), draw)
    caption = f"Score on each task along the stream. Dotted: the task's own stage. {bands}"
    return Picture("Forgetting curves", caption, drawings, legend, titles.key)


def _gain(scene: Scene, lost: str) -> Picture:
    found = gains.Found.of(scene, 22)

    def draw(axes: Axes, _: int) -> None:
        gains.draw(axes, found)

    drawings = _drawings(scene, "gain", 1, (4.8, found.height), draw)
    caption = (
        "Final scores against those of a model for each task, in percent of these. Bars: mean over the tasks "
        f"with its 95 % bootstrap interval over seeds. Points: each task, the first on top.{lost}"
    )
    return Picture("Gain over single-task learning", caption, drawings, [], found.key)


def _conflicts(scene: Scene, lost: str, legend: list[Entry]) -> Picture:
    names = conflicts.watched(scene.results)
    found = [clashes.cosines(scene, name) for name in names]
    side = min(4.3, clashes.size(found[0]))

    def line(axes: Axes, _: int) -> None:
        clashes.share(axes, scene, names)

    def matrix(axes: Axes, index: int) -> None:
        colours = heat.draw(axes, found[index], clashes.limits(found), clashes.COLOURS)
        axes.figure.colorbar(colours, ax=axes, shrink=0.7, pad=0.02, panchor=False)

    drawings = _drawings(scene, "conflicts", 1, (4.8, 2.6), line)
    drawings += _drawings(scene, "cosines", len(found), (side + 0.5, side), matrix, shared=False)
    caption = (
        "Share of the pairs of tasks whose gradients point apart (cosine below 0) along training, and the "
        f"mean cosine of each pair. Bands: 95 % bootstrap intervals over seeds.{lost}"
    )
    entries = [entry for name, entry in zip(scene.results.strategies, legend, strict=True) if name in names]
    return Picture("Conflicts between tasks", caption, drawings, entries, clashes.task_key(scene))


def _plasticity(scene: Scene, lost: str) -> Picture:
    names = hidden_units.watched(scene.results)
    shown = plasticity.measures(scene, names)

    def draw(axes: Axes, index: int) -> None:
        plasticity.draw(axes, scene, names, shown[index])

    drawings = _drawings(scene, "plasticity", len(shown), (3.4, 2.5), draw, shared=False)
    caption = (
        "At the end of each task: score on it, share of hidden units that are dormant, effective rank of the "
        f"last hidden layer, mean absolute weight. Bands: 95 % bootstrap intervals over seeds.{lost}"
    )
    # Who learned all tasks at once has a point here, and no level.
    points = replace(scene, levels=[])
    return Picture("Plasticity", caption, drawings, [_entry(points, name) for name in names], [])


def _films(results: Record) -> Picture:
    drawings, key = films.drawings(results)
    caption = (
        "Moments of an episode that the policy of the first seed plays in each task when it was just learned "
        "and at the end: of the episodes that were scored the one with the median return."
    )
    return Picture("What the policies do", caption, drawings, [], key)


def _average(axes: Axes, scene: Scene) -> None:
    panels.average(axes, scene)
    stage_ticks([axes], scene.tasks)
    score_limits(scene.results, [axes])
    axes.set(xlabel="tasks learned", ylabel=f"{scene.score_name}, mean over tasks seen")


def _comparison(scene: Scene, lost: str) -> Picture:
    metrics = plots.compared(scene)

    def draw(axes: Axes, index: int) -> None:
        panels.bars(axes, scene, metrics[index])
        panels.bar_names(axes, scene)

    height = 0.8 + 0.32 * len(scene.scores)
    drawings = _drawings(scene, "comparison", len(metrics), (4.6, height), draw, shared=False)
    key = shorten(scene.results.strategies, 30).key
    caption = f"Bars: 95 % bootstrap intervals over seeds.{lost}"
    return Picture("Strategies side by side", caption, drawings, [], key)


def _transfer(scene: Scene, lost: str) -> Iterator[Picture]:
    """What each stage did to every other task, in streams of worlds."""
    if not is_world(scene.results) or not 1 < scene.tasks <= MANY or not scene.staged:
        return
    found, key = changes.matrices(scene, 24)
    drawings = _heat(scene, "transfer", found, clashes.limits(found), clashes.COLOURS)
    caption = (
        "Change of the score on each task (column) by each stage (row), as a share of the task's largest: "
        f"isolated forgetting below the diagonal (negative), zero-shot transfer above it.{lost}"
    )
    yield Picture("Forgetting and transfer, stage by stage", caption, drawings, [], key)


def _confusions(scene: Scene, lost: str) -> Iterator[Picture]:
    """Confusion matrices after the last stage, and accuracies of the classes, where they were measured."""
    names = list(scene.results.confusions)
    if not names:
        return
    last = [heat.confusion(scene, name) for name in names]
    caption = (
        f"After the last stage: of the samples of each label (row) the share of each answer (column).{lost}"
    )
    yield Picture("Confusion matrices", caption, _heat(scene, "confusion", last), [], [])
    classes = [heat.class_accuracy(scene, name) for name in names]
    caption = f"Share of each class's samples that were answered right, after each stage.{lost}"
    yield Picture("Accuracy of each class", caption, _heat(scene, "classes", classes), [], [])


def _correlations(scene: Scene) -> Iterator[Picture]:
    """How the tasks go together, where their generator says so."""
    found = heat.correlations(scene.results)
    if not found:
        return
    lowest = min(float(matrix.values.min()) for matrix in found)
    caption = (
        "As the generator of the stream made them: correlation of the labels of each two tasks, and of the "
        "weights that labels are made of."
    )
    drawings = _heat(scene, "correlation", found, (min(lowest, 0.0), 1.0))
    yield Picture("Task correlations", caption, drawings, [], [])


def _heat(
    scene: Scene,
    name: str,
    found: list[heat.Matrix],
    limits: tuple[float, float] = (0.0, 1.0),
    colours: str = "viridis",
) -> list[str]:
    side = min(4.6, 1.6 + 0.25 * max(max(matrix.values.shape) for matrix in found))

    def draw(axes: Axes, index: int) -> None:
        heat.draw(axes, found[index], limits, colours)

    return _drawings(scene, name, len(found), (side, side), draw, shared=False)


def _matrices(scene: Scene, lost: str) -> Picture:
    found, key = heat.matrices(scene, 24)
    limits = heat.colour_limits(scene, found)
    side = min(3.3, max(2.4, 0.4 * scene.tasks + 1))

    def draw(axes: Axes, index: int) -> None:
        colours = heat.draw(axes, found[index], limits)
        if index == 0 or scene.tasks > heat.ANNOTATED:
            axes.figure.colorbar(colours, ax=axes, shrink=0.7, pad=0.02, panchor=False)

    size = (side + 0.5, side + 0.1)
    drawings = _drawings(scene, "matrix", len(found), size, draw, shared=False)
    caption = f"Mean {scene.score_name} after each stage (row) on each task (column), over seeds.{lost}"
    return Picture("Score matrices", caption, drawings, [], key)


def _training(scene: Scene, lost: str, legend: list[Entry]) -> Picture:
    names = plots.with_curves(scene)
    along = panels.Along.of(scene, names)
    titles = shorten(scene.results.tasks, 48)
    each = scene.tasks <= MANY

    def draw(axes: Axes, index: int) -> None:
        panels.training(axes, scene, along, index if each else None)
        title = titles.shown[index] if each else "mean over tasks seen"
        axes.set_title(title, loc="left", fontsize="small")
        axes.set(xlabel=along.label, ylabel=scene.score_name)
        score_limits(scene.results, [axes])

    counted = (
        "in steps of the environment"
        if along.label == ENVIRONMENT
        else "each strategy from task to task however many steps it takes"
    )
    drawings = _drawings(scene, "training", scene.tasks if each else 1, (4.8, 1.9), draw)
    caption = (
        f"Scores along the stream, {counted}. A drop right after a switch of the task (dotted) is the "
        f"stability gap.{lost}"
    )
    entries = [entry for name, entry in zip(scene.results.strategies, legend, strict=True) if name in names]
    return Picture("During training", caption, drawings, entries, titles.key if each else [])


def _drawings(
    scene: Scene, name: str, count: int, size: tuple[float, float], draw: Draw, shared: bool = True
) -> list[str]:
    """Make ``count`` drawings; the vertical axis is one for all where ``shared``."""
    figures = []
    for index in range(count):
        with canvas(*size) as figure:
            draw(figure.subplots(), index)
        figures.append(figure)
    if shared:
        limits = [figure.axes[0].get_ylim() for figure in figures]
        for figure in figures:
            figure.axes[0].set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return [_svg(figure, f"{name} {index}") for index, figure in enumerate(figures)]


def _entry(scene: Scene, name: str) -> Entry:
    """Draw the line of a strategy as the panels do."""
    from matplotlib.lines import Line2D

    look, flat = scene.look[name], name in scene.levels
    with canvas(0.5, 0.16) as figure:
        style = {"color": look["color"], "linestyle": look["dashes"] if flat else look["line"]}
        if not flat:
            style |= {"marker": look["marker"], "markevery": [1], "linewidth": look["width"]}
        figure.add_artist(Line2D([0, 0.5, 1], [0.5, 0.5, 0.5], **style))
    return Entry(_svg(figure, f"look {name}"), scene.marked(name))


def _svg(figure: Figure, name: str) -> str:
    """Return a figure as an element of the page: no background, text as text, colours of the page."""
    theme = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,  # equal figures give equal text; two figures share no names
        "font.sans-serif": ["DejaVu Sans"],
    }
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    text = content(figure, "svg", theme, transparent=True, dpi=144, metadata=nothing).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| version="1.1"|(?<=<g) id="[^"]*"', "", text)
    # All that is drawn lies inside its axes, and the element cuts what does not.
    text = re.sub(r"<clipPath.*?</clipPath>", "", text, flags=re.DOTALL)
    text = re.sub(r' clip-path="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=").replace("'DejaVu Sans'", "system-ui, sans-serif")
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    text = text.replace("stroke: #ffffff", "stroke: var(--page)")
    return re.sub(r"\n\s*", "\n", text).strip()
