"""Gains over single-task learning: signs, intervals, the worst task, figures, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perdure import analysis
from perdure.analysis import Results
from perdure.analysis.plots import figures
from perdure.analysis.report.page import render
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def two(higher: Any = True, **more: Any) -> Results:
    """Two seeds and two tasks: single-task scores 0.8 and 0.5, together 0.6 and 0.75 (first seed)."""
    scores = {
        "mmoe": [[[0.6, 0.75]], [[0.6, 0.65]]],
        "single": [[[0.8, 0.5]], [[0.8, 0.5]]],
    }
    config = {"higher_is_better": higher, "tasks": ["a", "b"], **more}
    return Results({name: np.array(values) for name, values in scores.items()}, config=config)


def test_gains_by_hand() -> None:
    results = two()
    assert results.gain("mmoe") == pytest.approx(np.array([[-25.0, 50.0], [-25.0, 30.0]]))
    assert results.gain("mmoe", relative=False) == pytest.approx(np.array([[-0.2, 0.25], [-0.2, 0.15]]))
    table = results.gains()
    assert list(table.columns) == ["strategy", "task", "task_name", "mean", "low", "high", "seeds", "worst"]
    assert table["mean"].tolist() == pytest.approx([-25, 40])
    assert table["worst"].tolist() == [True, False]
    assert table["task_name"].tolist() == ["a", "b"]
    assert results.metric("multi_task_gain", "mmoe") == pytest.approx([12.5, 2.5])
    assert results.metric("safeness", "mmoe") == pytest.approx([-0.2, -0.2])


def test_lower_scores_turn_every_change_and_no_level() -> None:
    up, down = two(), two(higher=False)
    assert down.gain("mmoe") == pytest.approx(-up.gain("mmoe"))
    assert down.metric("multi_task_gain", "mmoe") == pytest.approx([-12.5, -2.5])
    assert down.metric("safeness", "mmoe") == pytest.approx([-0.25, -0.15])  # the second task's error rose
    assert down.gains()["worst"].tolist() == [False, True]
    assert down.metric("average_accuracy", "mmoe") == pytest.approx(up.metric("average_accuracy", "mmoe"))
    compared = down.compare("average_accuracy")
    assert compared["improvement"].item() == pytest.approx(0.5 - 0.5 * np.sign(compared["difference"].item()))


@pytest.mark.parametrize("metric", list(analysis.METRICS))
def test_negated_scores_where_lower_is_better_are_the_same_run(build: Build, metric: str) -> None:
    up: Any = build(info={"best": 1.0, "threshold": 0.5})
    for name in up.strategies:
        up.extras[name] = {"parameters_per_stage": [1.0], "pass_flops": [1.0], "training_flops": [2.0]}
    down: Any = Results.of(up)
    down.config["higher_is_better"] = False
    down.config["info"] = {"best": -1.0, "threshold": -0.5}
    down.scores = type(up.scores)({name: -scores for name, scores in up.scores.items()})
    down.untrained = {name: -scores for name, scores in up.untrained.items()}
    down.curves = {n: analysis.Curve(c.steps, c.stage, -c.scores) for n, c in up.curves.items()}
    one, other = up.metric(metric, "ewc"), down.metric(metric, "ewc")
    assert other == pytest.approx(-one if analysis.METRICS[metric].level else one)


def test_tasks_may_differ_in_their_direction() -> None:
    results = two(higher=[True, False])
    assert results.gain("mmoe") == pytest.approx(np.array([[-25.0, -50.0], [-25.0, -30.0]]))
    assert any("Lower scores are better for b only" in line for line in analysis.notes(results))
    with pytest.raises(PerdureError, match="one for each of the 2 tasks; found 3"):
        two(higher=[True, False, True])


def test_a_strategy_gains_nothing_over_itself(results: Results) -> None:
    assert not results.gain("single").any()
    assert "single" not in set(results.gains()["strategy"])


def test_scaling_all_scores_changes_no_gain(results: Results) -> None:
    scaled = Results({n: 7.0 * s for n, s in results.scores.items()}, config=results.config)
    numbers = ["mean", "low", "high"]
    assert scaled.gains()[numbers].to_numpy() == pytest.approx(results.gains()[numbers].to_numpy())


def test_intervals_are_those_of_ratios_of_means(results: Results) -> None:
    row = results.gains().iloc[5]
    top = 100 * (results.scores["ewc"][:, -1, 1] - results.scores["single"][:, 0, 1])
    bottom = results.scores["single"][:, 0, 1]
    assert row["mean"] == pytest.approx(top.mean() / bottom.mean())
    low, high = analysis.statistics.bootstrap_ratio(top[:, None], bottom[:, None])
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    mean = results.table(["multi_task_gain"]).set_index("strategy")["mean"]["ewc"]
    own = results.gains()
    assert own[own["strategy"] == "ewc"]["mean"].mean() == pytest.approx(mean)


def test_a_task_whose_single_score_is_zero_has_differences_only() -> None:
    results = two()
    results.scores["single"][:, :, 0] = 0.0
    assert np.isnan(results.gains()["mean"][0])
    assert results.gains()["seeds"].tolist() == [0, 2]
    assert results.gains(relative=False)["mean"][0] == pytest.approx(0.6)


@pytest.mark.parametrize("ask", ["gain", "gains", "plot_gain", "plot_kept_and_gained"])
def test_without_single_it_is_refused(build: Build, ask: str) -> None:
    bare = build(("naive", "mmoe"))
    with pytest.raises(PerdureError, match="expected a single baseline; found only naive, mmoe") as caught:
        getattr(bare, ask)(*(["mmoe"] if ask == "gain" else []))
    assert "\n" not in str(caught.value)


def test_what_is_missing_for_a_figure_is_said(build: Build) -> None:
    with pytest.raises(PerdureError, match="unknown strategy 'ecw': did you mean ewc"):
        build().gain("ecw")
    with pytest.raises(PerdureError, match="beside the single-task learner; found none"):
        build(("single",)).plot_gain()
    with pytest.raises(PerdureError, match="one after the other; found only joint, single"):
        build(("joint", "single")).plot_kept_and_gained()


def test_forgetting_so_far_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.1], [0.5, 0.8, 0.1], [0.6, 0.4, 0.7]])
    assert analysis.forgetting_so_far(scores) == pytest.approx([0.4, (0.3 + 0.4) / 2])


def test_forgetting_so_far_ends_in_forgetting(results: Results) -> None:
    scores = results.scores["ewc"]
    assert analysis.forgetting_so_far(scores)[:, -1] == pytest.approx(analysis.forgetting(scores))
    shorter = scores[:, :3, :3]
    assert analysis.forgetting_so_far(scores)[:, 1] == pytest.approx(analysis.forgetting(shorter))


def test_the_figure_draws_the_tables(results: Results) -> None:
    panels: Any = results.plot_gain().axes
    (panel,) = panels
    means = results.table(["multi_task_gain"]).set_index("strategy")["mean"]
    assert [bar.get_width() for bar in panel.patches] == [means[n] for n in ("naive", "ewc", "joint")]
    points = np.concatenate(
        [np.asarray(c.get_offsets())[:, 0] for c in panel.collections if len(c.get_offsets()) == 4]
    )
    assert points == pytest.approx(results.gains()["mean"].to_numpy())
    worst = results.gains().query("strategy == 'ewc' and worst")["task_name"].item()
    assert panel.get_yticklabels()[1].get_text() == f"ewc\nworst: {worst}"


@pytest.mark.parametrize("tasks", [5, 40])
def test_nothing_overlaps(build: Build, tasks: int) -> None:
    results = build(("naive", "ewc", "mmoe", "joint", "single"), tasks=tasks, seeds=3)
    figure = figures.kept_and_gained(results)
    figure.canvas.draw()
    boxes: Any = [panel.get_tightbbox() for panel in figure.axes]
    left, right = boxes
    assert not left.overlaps(right)
    assert all(not item.get_window_extent().overlaps(right) for item in figure.legends)


def test_the_report_shows_gains_beside_the_curves(build: Build) -> None:
    small = build(("naive", "single"), tasks=2, seeds=2, curves=False)
    text = render(small)
    assert text.index("<h3>Forgetting curves") < text.index("<h3>Gain over single-task learning")
    assert text.index("<h3>Gain over") < text.index("<h3>Average over")
