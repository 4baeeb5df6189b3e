"""Figures of many tasks, long names, diverged replicas and many strategies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from perdure.analysis import Curve, Results, plot_front, plot_sensitivity
from perdure.analysis.diverged import diverged, sentence, survivors
from perdure.analysis.plots import figures as plots
from perdure.analysis.plots.labels import shorten
from perdure.analysis.plots.style import looks
from perdure.core.errors import PerdureError

Build = Callable[..., Results]
CLASSES = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck, van"
AWKWARD = ["$x^{$", "_hidden", "a\nb", "100 %$", "<b>&", "類 $\\frac$", "\\alpha", ""]


def draw(figure: Figure) -> Figure:
    figure.savefig(os.devnull, format="png", dpi=30)
    return figure


def heights(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("tasks", [21, 300])
def test_many_tasks_are_a_heat_map_and_an_average(tasks: int) -> None:
    scores = np.random.default_rng(0).uniform(size=(2, tasks, tasks))
    results = Results({"naive": scores, "joint": scores[:, -1:]}, config={"metric": "accuracy"})
    figure = plots.forgetting_curves(results)
    average, matrix, at_once, _bar = figure.axes
    drawn = next(heights(line) for line in average.get_lines() if line.get_label() == "naive")
    seen = [scores[:, t, : t + 1].mean() for t in range(tasks)]
    assert drawn[-1] == pytest.approx(seen[-1])
    assert set(np.round(drawn, 9)) <= set(np.round(seen, 9))  # of a long line the extremes
    assert average.collections  # the band
    assert np.asarray(matrix.images[0].get_array()) == pytest.approx(scores.mean(0))
    assert np.asarray(at_once.images[0].get_array()) == pytest.approx(scores[:, -1:].mean(0))
    assert all(len(panel.get_xticks()) <= 8 for panel in figure.axes)


@pytest.mark.parametrize("tasks", [25, 100])
def test_the_number_of_things_drawn_does_not_grow_with_the_tasks(build: Build, tasks: int) -> None:
    results = build(("naive", "ewc"), tasks=tasks, seeds=2)
    for make in (plots.forgetting_curves, plots.matrices, plots.evaluation_curves, plots.average_curves):
        figure = make(results)
        assert len(figure.axes) <= 4
        assert len(figure.findobj()) < 1500


def test_a_long_curve_keeps_its_extremes() -> None:
    values = np.full((1, 10_000, 1), 0.5)
    values[0, [1234, 7777], 0] = 0.1, 0.9
    curve = Curve(np.arange(1, 10_001), np.zeros(10_000, int), values)
    results = Results({"naive": np.full((1, 1, 1), 0.5)}, curves={"naive": curve})
    (line,) = plots.evaluation_curves(results).axes[0].get_lines()
    assert len(heights(line)) < 1000
    assert (min(heights(line)), max(heights(line))) == (0.1, 0.9)


def test_every_strategy_runs_along_the_stream(build: Build) -> None:
    results = build(("naive", "cumulative"), tasks=2, seeds=2)
    scores, stages = np.zeros((2, 5, 2)), np.array([0, 0, 1, 1, 1])
    results.curves = {
        "naive": Curve(np.array([5, 10, 15, 20, 20]), stages, scores),
        "cumulative": Curve(np.array([5, 10, 20, 30, 50]), stages, scores),
    }
    panel = plots.evaluation_curves(results).axes[0]
    places = {line.get_label(): line.get_xdata() for line in panel.get_lines()}
    assert places["naive"] == pytest.approx([0.5, 1, 1.5, 2, 2])
    assert places["cumulative"] == pytest.approx([0.5, 1, 1.25, 1.5, 2])
    assert panel.get_xlim() == (0, 2)


def test_long_names_are_cut_and_have_a_key(build: Build) -> None:
    names = ("naive", "replay(capacity=500) + ewc(strength=20.0)", "replay(capacity=500) + ewc(strength=0.1)")
    tasks = [f"{CLASSES} {t}" for t in range(5)]
    results = build(names, tasks=5, seeds=2)
    results.config["tasks"] = tasks
    keys = []
    for make, panels in ((plots.forgetting_curves, 5), (plots.matrices, 3), (plots.evaluation_curves, 5)):
        figure = draw(make(results))
        keys.append(figure.get_supxlabel())
        titles = [p.get_title() or p.get_title(loc="left") for p in figure.axes[:panels]]
        assert len(set(titles)) == panels
        boxes = [box for item in (*figure.axes, *figure.legends) if (box := item.get_tightbbox())]
        assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    assert all(task in " ".join(keys[0].split()) for task in tasks)
    assert all(name in keys[1] for name in names[1:])


def test_short_names_stay_as_they_are() -> None:
    assert shorten(["0/1", "2/3"], 5) == (["0/1", "2/3"], [])
    assert shorten(["abcdefgh", "abcdefgh"], 6) == (["1 abc…", "2 abc…"], ["1  abcdefgh", "2  abcdefgh"])


def test_names_are_plain_text(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).uniform(size=(2, 3, 3))
    curve = Curve(np.arange(1, 4), np.arange(3), np.zeros((2, 3, 3)))
    names = [name for name in AWKWARD if name.isprintable()]  # strategies' names are refused otherwise
    results = Results(
        dict.fromkeys(names, scores),
        curves=dict.fromkeys(names, curve),
        config={"tasks": AWKWARD[:3], "metric": "$x^{$"},
    )
    with warnings.catch_warnings(), matplotlib.rc_context({"text.usetex": False}):
        warnings.simplefilter("error")
        results.plot_forgetting(tmp_path / "a.png")
        results.plot_curves(tmp_path / "b.png")
        results.plot_matrix(tmp_path / "c.svg")
        results.plot_comparison(tmp_path / "d.png")
        results.plot_average(tmp_path / "e.png")
        plot_front({"$x^{$": np.zeros((2, 2, 2))}, np.eye(2), names=["$x^{$", "_b"], path=tmp_path / "f.png")
    figure = plots.forgetting_curves(results)
    assert len(legend_of(figure)) == len(names)  # also the one with an underscore
    assert figure.axes[0].get_title() == "$x^{$"


def test_diverged_replicas_are_marked_and_left_out(build: Build) -> None:
    results = build(("naive", "ewc", "joint"), seeds=4)
    results.scores["naive"][1] = 0.1  # finite, but the run says so
    results.extras["naive"]["diverged"] = [1]
    results.scores["ewc"][2, 3, 0] = np.inf
    results.scores["joint"][:] = np.nan
    assert diverged(results, "naive").tolist() == [False, True, False, False]
    assert diverged(results, "ewc").tolist() == [False, False, True, False]
    for make in (plots.forgetting_curves, plots.average_curves):
        names = [" ".join(text.split()) for text in legend_of(draw(make(results)))]
        assert names == ["naive (1 of 4 diverged)", "ewc (1 of 4 diverged)", "joint (4 of 4 diverged)"]
    panel = plots.forgetting_curves(results).axes[0]
    line = next(line for line in panel.get_lines() if line.get_label() == "ewc")
    assert line.get_ydata() == pytest.approx(results.scores["ewc"][[0, 1, 3], :, 0].mean(0))
    titles = [axes.get_title() for axes in draw(plots.matrices(results)).axes]
    assert titles[:2] == ["naive\n(1 of 4 diverged)", "ewc\n(1 of 4 diverged)"]
    bars = draw(plots.comparison(results)).axes[0]
    kept = results.metric("average_accuracy", "naive")
    assert np.isnan(kept).tolist() == [False, True, False, False]
    kept = kept[[0, 2, 3]]
    (bar, *_others) = bars.patches
    assert isinstance(bar, Rectangle)
    assert bar.get_width() == pytest.approx(kept.mean())
    assert "(4 of 4 diverged)" in bars.get_yticklabels()[2].get_text()
    assert sentence(results).endswith("naive: 1; ewc: 2; joint: all.")
    assert np.array_equal(survivors(results, "naive"), results.scores["naive"][[0, 2, 3]])


def test_tasks_to_come_may_lack_scores(build: Build) -> None:
    results = build(("naive",), seeds=3)
    whole = plots.average_curves(results).axes[0].get_lines()[0].get_ydata()
    results.scores["naive"][:, *np.triu_indices(4, 1)] = np.nan
    assert not diverged(results, "naive").any()
    assert plots.average_curves(results).axes[0].get_lines()[0].get_ydata() == pytest.approx(whole)
    for make in (plots.forgetting_curves, plots.matrices, plots.comparison):
        draw(make(results))


def test_diverged_replicas_of_a_front_are_left_out() -> None:
    scores = np.random.default_rng(0).uniform(size=(3, 2, 2))
    scores[1, 0, 0] = np.nan
    figure = plot_front({"one": scores, "none": np.full((2, 2, 2), np.nan)}, np.eye(2))
    assert legend_of(figure) == ["one (1 of 3 diverged)", "none (2 of 2 diverged)"]
    drawn = np.asarray(figure.axes[0].get_lines()[0].get_xdata())
    np.testing.assert_allclose(drawn, scores[[0, 2]].mean(0)[:, 0])


def test_no_two_strategies_look_alike() -> None:
    found = looks([str(i) for i in range(60)]).values()
    assert len({(look["color"], str(look["line"])) for look in found}) == 60
    assert len({(look["color"], str(look["dashes"])) for look in found}) == 60


def test_lines_that_coincide_take_turns(build: Build) -> None:
    results = build(("naive", "ewc", "si", "joint", "mas", "single"), seeds=2)
    results.scores["si"] = results.scores["naive"].copy()
    results.scores["single"] = results.scores["joint"].copy()
    lines = {line.get_label(): line for line in plots.forgetting_curves(results).axes[0].get_lines()}

    def covers(name: str) -> np.ndarray:
        """Which points of the line have ink."""
        offset, pattern = vars(lines[name])["_unscaled_dash_pattern"]
        edges = np.cumsum(pattern)
        places = (np.arange(0.05, 100, 0.1) + offset) % edges[-1]
        return np.asarray(np.searchsorted(edges, places, side="right") % 2 == 0)

    for one, two in (("naive", "si"), ("joint", "single")):
        assert (covers(one) != covers(two)).all()
    assert lines["naive"].get_markevery() != lines["si"].get_markevery()
    assert lines["ewc"].is_dashed()


def test_a_line_shows_beside_the_one_that_lies_on_a_part_of_it(build: Build) -> None:
    results = build(("naive", "ewc", "si", "joint"), seeds=2)
    results.scores["si"] = results.scores["naive"].copy()
    results.scores["si"][:, 3] += 0.2  # as naive until the last stage
    lines = {line.get_label(): line for line in results.plot_forgetting().axes[0].get_lines()}
    assert lines["naive"].get_linewidth() > lines["si"].get_linewidth() == lines["ewc"].get_linewidth()
    assert not lines["naive"].is_dashed()


def test_module_names_are_plain_text() -> None:
    rows = [(0, 0, epoch, name, 10.0**-epoch) for epoch in (1, 2, 3) for name in ("$x^{$", "_fc")]
    frame = pd.DataFrame(rows, columns=["seed", "task", "epoch", "module", "sensitivity"])
    figure = plot_sensitivity(frame)
    draw(figure)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend
    assert [text.get_text().strip() for text in legend.get_texts()] == ["$x^{$", "_fc"]
    assert not any("$" in text.get_text() for text in axes.get_yticklabels(which="both"))


@pytest.mark.parametrize("write", ["report", "plot_forgetting"])
def test_a_link_is_replaced_and_its_target_stays(build: Build, tmp_path: Path, write: str) -> None:
    results = build(("naive",), tasks=2, seeds=2, curves=False)
    target, place = tmp_path / "thesis.tex", tmp_path / "out" / "figure.png"
    place.parent.mkdir()
    target.write_text("years of work")
    place.symlink_to(target)
    getattr(results, write)(place)
    assert target.read_text() == "years of work"
    assert not place.is_symlink()
    assert place.stat().st_mode == target.stat().st_mode  # not its writer's alone
    assert [path.name for path in place.parent.iterdir()] == ["figure.png"]


def test_a_failure_leaves_the_old_file(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.html").write_text("old")

    def full(*paths: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PerdureError, match="No space left"):
        build(("naive",), tasks=2, seeds=2, curves=False).report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
