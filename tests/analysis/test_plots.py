"""Figures draw exactly what metrics and statistics return, and stay readable for many tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from perdure import analysis
from perdure.analysis import Results
from perdure.analysis.plots import figures as plots
from perdure.core.errors import PerdureError

Build = Callable[..., Results]
DRAW = [
    plots.forgetting_curves,
    plots.average_curves,
    plots.comparison,
    plots.matrices,
    plots.evaluation_curves,
]


def _line(panel: Axes, label: str) -> Line2D:
    (line,) = (line for line in panel.get_lines() if line.get_label() == label)
    return line


def test_forgetting_curves_draw_means_and_bands(results: Results) -> None:
    panels = plots.forgetting_curves(results).axes
    assert [panel.get_title() for panel in panels] == results.tasks
    assert all(panel.get_ylim() == (-0.03, 1.03) for panel in panels)  # accuracies on their whole scale
    scores = results.scores["ewc"][:, :, 1]
    line = _line(panels[1], "ewc")
    assert line.get_xdata() == pytest.approx([1, 2, 3, 4])
    assert line.get_ydata() == pytest.approx(scores.mean(axis=0))
    band = np.asarray(panels[1].collections[1].get_paths()[0].vertices)  # naive's, then ewc's
    low, high = analysis.bootstrap_band(scores, samples=plots.RESAMPLES)
    assert {*low.round(9), *high.round(9)} <= set(band[:, 1].round(9))


def test_strategies_without_stages_are_dashed_levels(results: Results) -> None:
    line = _line(plots.forgetting_curves(results).axes[2], "joint")
    assert line.get_ydata() == pytest.approx([results.scores["joint"][:, 0, 2].mean()] * 2)
    assert line.is_dashed()


def test_average_curves_draw_the_average_over_seen(results: Results) -> None:
    (panel,) = plots.average_curves(results).axes
    expected = analysis.average_over_seen(results.scores["naive"]).mean(axis=0)
    assert _line(panel, "naive").get_ydata() == pytest.approx(expected)
    level = results.metric("average_accuracy", "single").mean()
    assert _line(panel, "single").get_ydata() == pytest.approx([level, level])


def test_matrices_draw_means(results: Results) -> None:
    *panels, _bar = plots.matrices(results).axes
    assert [panel.get_title() for panel in panels] == ["naive", "ewc", "all tasks at once"]
    for panel in panels[:2]:
        drawn = np.asarray(panel.collections[0].get_array()).reshape(4, 4)
        assert drawn == pytest.approx(results.scores[panel.get_title()].mean(axis=0))
    rows = np.asarray(panels[2].collections[0].get_array()).reshape(2, 4)
    assert rows[1] == pytest.approx(results.scores["single"].mean(axis=(0, 1)))
    assert [label.get_text() for label in panels[2].get_yticklabels()] == ["joint", "single"]


def test_comparison_draws_the_table(results: Results) -> None:
    accuracy, lost = plots.comparison(results).axes
    table = results.table(metrics=["average_accuracy", "forgetting"])
    for panel, metric in ((accuracy, "average_accuracy"), (lost, "forgetting")):
        part = table[table["metric"] == metric]
        bars = [bar for bar in panel.patches if isinstance(bar, Rectangle)]
        assert [bar.get_width() for bar in bars] == part["mean"].tolist()
        whiskers = [c.lines[2][0] for c in panel.containers if isinstance(c, ErrorbarContainer)]
        ends = [line.get_segments()[0][:, 0] for line in whiskers]
        assert np.array(ends) == pytest.approx(part[["low", "high"]].to_numpy())


def test_evaluation_curves_draw_every_evaluation(results: Results) -> None:
    panels = plots.evaluation_curves(results).axes
    curve = results.curves["naive"]
    line = _line(panels[3], "naive")
    assert line.get_xdata() == pytest.approx(curve.steps / 20)  # 20 steps a task, an evaluation every 5
    assert line.get_ydata() == pytest.approx(curve.scores[:, :, 3].mean(axis=0))
    assert not [line for line in panels[0].get_lines() if line.get_label() == "joint"]
    switches = [
        np.asarray(line.get_xdata())[0] for line in panels[0].get_lines() if line.get_linestyle() == ":"
    ]
    assert switches == [1, 2, 3]


def test_evaluation_curves_need_curves(build: Build) -> None:
    with pytest.raises(PerdureError, match="run with eval_every set"):
        plots.evaluation_curves(build(curves=False))


def _boxes(figure: Figure) -> tuple[list[Bbox], list[Bbox]]:
    figure.canvas.draw()
    panels = [box for panel in figure.axes if (box := panel.get_tightbbox())]
    return panels, [item.get_window_extent() for item in figure.legends]


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        (("naive",), 1),
        (("naive", "joint"), 2),
        (("naive", "ewc(strength=20)", "replay(500) + ewc(strength=20)"), 11),
        pytest.param(
            ("naive", "ewc", "si", "mas", "lwf", "replay", "der", "agem", "joint", "single"),
            20,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nothing_overlaps(
    build: Build, draw: Callable[[Results], Figure], names: tuple[str, ...], tasks: int
) -> None:
    figure = draw(build(names, tasks=tasks, seeds=2))
    panels, legends = _boxes(figure)
    assert all(not one.overlaps(two) for i, one in enumerate(panels) for two in panels[:i])
    assert all(not legend.overlaps(panel) for legend in legends for panel in panels)
    assert all(figure.bbox.padded(2).contains(box.x1, box.y1) for box in (*panels, *legends))


def test_scores_without_a_fixed_scale(build: Build) -> None:
    results = build(metric="negative squared error")
    for scores in results.scores.values():
        scores -= 3.0
    figure = plots.matrices(results)
    low, high = figure.axes[0].collections[0].get_clim()
    assert -3 <= low < high < -2
    assert plots.forgetting_curves(results).axes[0].get_ylim()[1] < 0


@pytest.fixture
def small(build: Build) -> Results:
    """As few panels and lines as there can be, where what is drawn in them makes no difference."""
    return build(("naive", "joint"), tasks=2, seeds=2)


def test_files_are_written(small: Results, tmp_path: Path) -> None:
    small.plot_forgetting(tmp_path / "deep" / "a.png")
    small.plot_matrix(tmp_path / "b.pdf")
    small.plot_comparison(tmp_path / "c.svg")
    small.plot_average(str(tmp_path / "d.png"))
    small.plot_curves(tmp_path / "e.png")
    starts = {"a": b"\x89PNG", "d": b"\x89PNG", "e": b"\x89PNG", "b": b"%PDF", "c": b"<?xml"}
    for file in tmp_path.rglob("?.*"):
        assert file.read_bytes().startswith(starts[file.stem])
        assert file.stat().st_size > 5_000
    with pytest.raises(
        PerdureError, match=r"expected a file that ends in \.png, \.pdf, \.svg; found 'a\.txt'"
    ):
        small.plot_average(tmp_path / "a.txt")
    with pytest.raises(PerdureError, match="can be written"):
        small.plot_average(tmp_path / "b.pdf" / "x.png")


def test_figures_are_returned_with_and_without_a_file(small: Results, tmp_path: Path) -> None:
    for name in ("forgetting", "matrix", "comparison", "average", "curves"):
        assert isinstance(getattr(small, f"plot_{name}")(), Figure)
    figure = small.plot_average(tmp_path / "a.PNG")
    assert figure.axes[0].get_xlabel() == "tasks learned"
    assert (tmp_path / "a.PNG").is_file()


def test_bars_name_what_they_show(small: Results) -> None:
    names = [panel.get_xlabel() for panel in small.plot_comparison().axes]
    assert names == ["accuracy (higher is better)", "forgetting (lower is better)"]


def test_no_global_state_is_touched(small: Results) -> None:
    before = dict(matplotlib.rcParams)
    for draw in DRAW:
        draw(small)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_strategies_look_different() -> None:
    from perdure.analysis.plots.style import looks

    found = looks([str(i) for i in range(20)]).values()
    assert len({(look["color"], look["marker"]) for look in found}) == 20
