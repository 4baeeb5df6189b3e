"""Metrics of continual reinforcement learning: returns, steps of environments, thresholds, by hand."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from perdure import analysis
from perdure.analysis import Curve, Results, notes
from perdure.analysis.metrics import steps, worlds
from perdure.analysis.plots import figures as plots
from perdure.analysis.report.page import render
from perdure.analysis.report.tables import summaries, thresholds
from perdure.core.errors import PerdureError

STEPS, STAGE = np.arange(10, 70, 10, dtype=np.int64), np.array([0, 0, 0, 1, 1, 1])
# Returns of two seeds on two tasks; the first seed reaches 475 on both, the second on none.
NAIVE = [
    [[100, 0], [300, 50], [500, 50], [400, 250], [300, 480], [200, 500]],
    [[50, 0], [100, 0], [200, 0], [100, 100], [100, 200], [100, 450]],
]
SINGLE = [
    [[100, 20], [300, 20], [500, 20], [500, 20], [500, 200], [500, 480]],
    [[50, 0], [100, 0], [200, 0], [200, 50], [200, 100], [200, 150]],
]

NAN = float("nan")  # never


def same(found: np.ndarray, expected: list[list[float]]) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


def run(info: dict[str, Any] | None = None, **config: Any) -> Results:
    """A run of naive and single on two tasks, scored by returns up to 500."""
    naive, single = np.array(NAIVE, float), np.array(SINGLE, float)
    return Results(
        {"naive": naive[:, [2, 5]], "single": single[:, [5]]},
        untrained={"naive": np.full((2, 2), 20.0)},
        curves={"naive": Curve(STEPS, STAGE, naive), "single": Curve(STEPS, STAGE, single)},
        config={"metric": "return", "info": {"best": 500} if info is None else info, **config},
    )


# ---- Continual World ----------------------------------------------------------------------------------


def test_average_performance_is_that_of_returns_in_0_to_1() -> None:
    assert run().metric("average_performance", "naive") == pytest.approx([0.7, 0.55])
    assert run().metric("average_performance", "single") == pytest.approx([0.98, 0.35])
    shifted = run({"best": [500, 600], "worst": [100, 0]})
    assert shifted.metric("average_performance", "naive") == pytest.approx(
        [(100 / 400 + 500 / 600) / 2, (0 + 450 / 600) / 2]
    )


def test_accuracies_have_no_average_performance_of_their_own() -> None:
    results = run({}, metric="accuracy")
    assert not any("all reported" in line for line in [*notes(results), *notes(run())])
    with pytest.raises(PerdureError, match="found accuracy, which lies there: it is the average accuracy"):
        results.metric("average_performance", "naive")
    assert "average_performance" not in set(results.table()["metric"])


def test_forward_transfer_is_against_the_single_task_run_of_the_same_task() -> None:
    first = (1230 / 1500 - 700 / 1500) / (1 - 700 / 1500)
    second = (750 / 1500 - 300 / 1500) / (1 - 300 / 1500)
    assert run().metric("rl_forward_transfer", "naive") == pytest.approx([first / 2, second / 2])
    means = ((1230 - 700) / 1500 + 450 / 1500) / ((1 - 700 / 1500) + (1 - 300 / 1500)) / 2
    assert run().table(["rl_forward_transfer"])["mean"].item() == pytest.approx(means)


def test_forgetting_is_of_returns_in_0_to_1() -> None:
    # Three evaluations a stage, fewer than five: all of them count.
    expected = [((100 + 300 + 500) - (400 + 300 + 200)) / 3 / 500 / 2, (350 / 3 - 100) / 500 / 2]
    assert run().metric("rl_forgetting", "naive") == pytest.approx(expected)
    assert any("naive: a stage has 3 evaluations, fewer than the 5" in line for line in notes(run()))


def test_a_single_curve_that_does_not_say_when_tasks_were_learned_is_refused() -> None:
    results = run(kinds={"naive": "naive", "single": "single"})
    results.curves["single"] = Curve(STEPS, np.zeros(6, int), np.array(SINGLE, float))
    with pytest.raises(PerdureError, match="while it learned each task; found none for 'task 2'"):
        results.metric("rl_forward_transfer", "naive")


@pytest.mark.parametrize("metric", ["rl_forward_transfer", "rl_forgetting", "average_performance"])
def test_returns_without_a_best_one_are_refused(metric: str) -> None:
    with pytest.raises(PerdureError, match=r"expected the best score of each task, .* info\['best'\]") as why:
        run({}).metric(metric, "naive")
    assert "\n" not in str(why.value)
    assert metric not in set(run({}).table()["metric"])


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"best": 0}, r"best score of 'task 1' to be better than the worst one, .* found 0 and 0"),
        ({"best": [500, 10], "worst": 20}, "best score of 'task 2' .* found 10 and 20"),
        ({"best": 450}, "no score beyond the best one of 'task 1', 450; found 500"),
        ({"best": [500, 500, 500]}, r"\['best'\] to be a number, or one for each of the 2 tasks; found 3"),
    ],
)
def test_limits_that_do_not_fit_are_refused(info: dict[str, Any], says: str) -> None:
    with pytest.raises(PerdureError, match=says):
        run(info).metric("rl_forgetting", "naive")
    assert sum("curve forgetting are not all reported" in line for line in notes(run(info))) == 1


@pytest.mark.parametrize(
    "info",
    [{"best": "500"}, {"worst": [None]}, {"threshold": True}, {"world_steps_per_step": 0}],
)
def test_what_is_no_number_is_refused_before_any_work(info: dict[str, Any]) -> None:
    with pytest.raises(PerdureError, match=r"expected config\['info'\]\['\w+'\] to be a"):
        run(info)


def test_lower_scores_can_be_brought_to_0_to_1() -> None:
    signs = -np.ones(1)
    results = Results({"naive": np.full((1, 1, 1), 2.0)}, config={"info": {"best": 0, "worst": 8}})
    assert worlds.normalised(results, np.array([[2.0]]), signs) == pytest.approx(np.array([[0.75]]))
    with pytest.raises(PerdureError, match="no score beyond the best one of 'task 1', 0; found -1"):
        worlds.normalised(results, np.array([[-1.0]]), signs)


def test_what_is_said_of_tasks_goes_by_their_names() -> None:
    info = {"tasks": ["a", "b", "c"], "best": [1, 2, 3]}
    results = run(info, tasks=["c", "a"])
    assert np.array_equal(worlds.told(results, "best"), [3, 1])  # type: ignore[arg-type]
    assert worlds.told(results, "worst") is None


# ---- CORA ---------------------------------------------------------------------------------------------


def test_matrices_of_forgetting_and_transfer() -> None:
    results = run()
    lost, gained = results.isolated_forgetting("naive"), results.zero_shot_transfer("naive")
    assert lost[:, 1, 0] == pytest.approx([(500 - 200) / 500, (200 - 100) / 200])
    assert gained[:, 0, 1] == pytest.approx([(50 - 20) / 500, (0 - 20) / 450])
    assert np.isnan(lost).sum() == np.isnan(gained).sum() == 6
    assert results.metric("isolated_forgetting", "naive") == pytest.approx(lost[:, 1, 0])
    assert results.metric("zero_shot_transfer", "naive") == pytest.approx(gained[:, 0, 1])


def test_matrices_mean_what_the_metrics_do() -> None:
    scores = np.random.default_rng(0).uniform(size=(3, 5, 5))
    before = np.random.default_rng(1).uniform(size=(3, 5))
    lost = analysis.isolated_forgetting_matrix(scores)
    gained = analysis.zero_shot_transfer_matrix(scores, before)
    assert np.isfinite(lost).sum() == np.isfinite(gained).sum() == 3 * 10
    assert np.nanmean(lost, axis=(1, 2)) == pytest.approx(analysis.isolated_forgetting(scores))
    assert np.nanmean(gained, axis=(1, 2)) == pytest.approx(analysis.zero_shot_transfer(scores, before))


def test_matrices_of_forgetting_need_stages() -> None:
    with pytest.raises(PerdureError, match="isolated_forgetting of 'single': expected scores after every"):
        run().isolated_forgetting("single")


def test_transfer_is_drawn() -> None:
    figure = run().plot_transfer()
    figure.savefig(os.devnull, format="png", dpi=30)
    (panel, _bar) = figure.axes
    assert [text.get_text() for text in panel.texts] == ["0.01", "-0.55"]  # of two seeds each
    only = run().select("single")
    with pytest.raises(PerdureError, match="at least 2 tasks one after the other; found only single"):
        only.plot_transfer()


# ---- sample efficiency --------------------------------------------------------------------------------


def test_steps_to_a_threshold_count_from_the_start_of_the_stage() -> None:
    times = run().steps_to_threshold("naive")  # 95 % of 500
    assert same(times, [[30, 20], [NAN, NAN]])
    assert np.array_equal(run().steps_to_threshold("naive", 200), [[20, 10], [30, 20]])
    assert np.array_equal(run().steps_to_threshold("naive", [100, 400]), [[10, 20], [20, 30]])
    assert np.array_equal(run({"threshold": 200}).steps_to_threshold("naive"), [[20, 10], [30, 20]])
    assert same(run().steps_to_threshold("single"), [[30, 30], [NAN, NAN]])


def test_seeds_that_never_reach_the_threshold_count_with_all_their_steps() -> None:
    assert run().metric("steps_to_threshold", "naive").tolist() == [25, 30]
    table = run().table(["steps_to_threshold"]).set_index("strategy")
    assert table["mean"].tolist() == [27.5, 30]
    assert table["censored"].tolist() == [1, 1]
    assert table["seeds"].tolist() == [2, 2]
    assert run().summary(["steps_to_threshold"]).loc["naive"].item().startswith("≥ 28 [")
    assert r"$\geq$ 28" in run().to_latex(["steps_to_threshold"])
    assert "censored" not in run({"threshold": 100}).table()
    one_of_two = run({"threshold": [100, 500]}).table(["steps_to_threshold"])
    assert one_of_two["censored"].tolist() == [1, 2]  # one task that never got there is enough


def test_sample_efficiency() -> None:
    table = run().sample_efficiency()
    assert table.attrs["unit"] == "training steps"
    assert table["threshold"].tolist() == [475.0] * 4
    assert set(run({"best": 500, "worst": 100}).sample_efficiency()["threshold"]) == {480.0}
    naive = table[table["strategy"] == "naive"]
    assert naive["task_name"].tolist() == ["task 1", "task 2"]
    assert naive["mean"].tolist() == [30, 25]
    assert naive["reached"].tolist() == [1, 1]
    assert naive["seeds"].tolist() == [2, 2]
    assert naive[["low", "high"]].to_numpy().tolist() == [[30, 30], [20, 30]]


def test_diverged_seeds_are_no_slow_ones() -> None:
    results = run()
    results.extras["naive"] = {"diverged": [1]}
    naive = results.sample_efficiency().set_index("strategy").loc["naive"]
    assert naive["mean"].tolist() == [30, 20]
    assert naive["seeds"].tolist() == [1, 1]
    assert naive["reached"].tolist() == [1, 1]


def test_a_threshold_of_scores_that_are_better_lower() -> None:
    results = run({"threshold": 150}, higher_is_better=False)
    times = results.steps_to_threshold("naive")
    assert same(times, [[10, NAN], [10, 10]])
    assert results.metric("steps_to_threshold", "naive").tolist() == [20, 10]


@pytest.mark.parametrize("threshold", ["x", [1.0], [1.0, np.nan], np.inf])
def test_a_threshold_that_is_none_is_refused(threshold: Any) -> None:
    with pytest.raises(PerdureError, match="a number, or one for each of the 2 tasks; found"):
        run().sample_efficiency(threshold)


def test_steps_to_threshold_need_a_curve_and_a_threshold() -> None:
    with pytest.raises(PerdureError, match=r"expected a threshold for each task; .*info\['threshold'\]"):
        run({}).metric("steps_to_threshold", "naive")
    with pytest.raises(PerdureError, match="expected a threshold for each task"):
        run({}).sample_efficiency()
    bare = run()
    bare.curves.clear()
    for ask in (lambda: bare.metric("steps_to_threshold", "naive"), bare.sample_efficiency):
        with pytest.raises(PerdureError, match=r"steps_to_threshold of .*: expected an evaluation curve"):
            ask()
    assert any("No evaluation curve was recorded" in line for line in notes(bare))


def test_what_learns_all_tasks_at_once_has_no_stage_of_its_own() -> None:
    results = run()
    results.curves["single"] = Curve(STEPS, np.zeros(6, int), np.array(SINGLE, float))
    assert set(results.sample_efficiency()["strategy"]) == {"naive"}
    with pytest.raises(PerdureError, match="found one stage for all"):
        results.steps_to_threshold("single")


def test_replicas_are_independent() -> None:
    many, limit = np.random.default_rng(0).uniform(size=(5, 6, 2)), np.array([0.7, 0.8])
    for function in (steps.steps_to_threshold, steps.time_to_threshold, steps.censored):
        each = [function(one, STAGE, STEPS, limit) for one in many]
        assert np.array_equal(function(many, STAGE, STEPS, limit), each, equal_nan=True)


# ---- steps of the environment -------------------------------------------------------------------------


def test_environment_steps() -> None:
    assert run({"world_steps_per_step": 12.8}).environment_steps("naive") == pytest.approx(12.8 * STEPS)
    each = run({"world_steps_per_step": [2, 3]})
    assert each.environment_steps("naive").tolist() == [20, 40, 60, 90, 120, 150]
    with pytest.raises(PerdureError, match=r"info\['world_steps_per_step'\]; found one that does not"):
        run().environment_steps("naive")
    each.curves["single"] = Curve(STEPS, np.zeros(6, int), np.array(SINGLE, float))
    with pytest.raises(PerdureError, match="stand for different numbers of environment steps"):
        each.environment_steps("single")


def test_thresholds_are_counted_in_environment_steps_where_they_are_known() -> None:
    results = run({"best": 500, "world_steps_per_step": [2, 3]})
    times = results.steps_to_threshold("naive")
    assert same(times, [[60, 60], [NAN, NAN]])
    assert results.metric("steps_to_threshold", "naive").tolist() == [60, 75]
    assert results.sample_efficiency().attrs["unit"] == "environment steps"


def test_curves_are_drawn_along_environment_steps() -> None:
    panel = plots.evaluation_curves(run({"world_steps_per_step": [2, 3]})).axes[0]
    line, switch = panel.get_lines()
    assert line.get_xdata() == pytest.approx([20, 40, 60, 90, 120, 150])
    assert switch.get_xdata() == pytest.approx([60, 60])
    assert panel.get_xlim() == (0, 150)
    assert plots.evaluation_curves(run({"world_steps_per_step": 2})).get_supxlabel() == "environment steps"
    assert plots.evaluation_curves(run()).get_supxlabel() == "tasks of the stream"


def test_strategies_that_take_different_steps_are_drawn_along_tasks() -> None:
    results = run({"world_steps_per_step": 2})
    results.scores["longer"] = results.scores["naive"]
    results.curves["longer"] = Curve(2 * STEPS, STAGE, np.array(NAIVE, float))
    figure = plots.evaluation_curves(results)
    assert figure.get_supxlabel() == "tasks of the stream (of different environment steps)"
    assert figure.axes[0].get_xlim() == (0, 2)


def test_steps_that_are_not_said_of_each_task_leave_the_report_as_it_was() -> None:
    results = run({"best": 500, "world_steps_per_step": [2, 3, 4]})
    assert plots.evaluation_curves(results).get_supxlabel() == "tasks of the stream"
    line = "Curves are not drawn along environment steps: expected config['info']['world_steps_per_step']"
    assert any(text.startswith(line) for text in notes(results))
    assert "to threshold" not in render(results)


def test_a_curve_with_a_stage_that_is_none_is_refused() -> None:
    with pytest.raises(PerdureError, match="curve of 'a' with stages from 0 to 1; found 2"):
        Results({"a": np.zeros((1, 2, 2))}, curves={"a": Curve([1, 2], [0, 2], np.zeros((1, 2, 2)))})  # type: ignore[arg-type]


# ---- the report ---------------------------------------------------------------------------------------


def test_the_report_shows_them() -> None:
    results = run({"best": 500, "world_steps_per_step": 2})
    page = render(results)
    for part in (
        "Average performance",
        "Forward transfer (AUC)",
        "Environment steps to threshold",
        "≥ 55 [50, 60]",
        "Forgetting and transfer, stage by stage",
        "in steps of the environment",
        "some seeds never got",
    ):
        assert part in page, part
    columns = [column for table in summaries(results, results.table()) for column in table.columns]
    assert "Environment steps to threshold\N{NO-BREAK SPACE}↓" in columns
    table = thresholds(results)
    assert table is not None
    assert table.columns == ["task 1 (from 475 on)", "task 2 (from 475 on)"]
    (_, (first, second)), _single = table.rows
    assert first.text == "≥ 60 [60, 60] (1 of 2 seeds)"
    assert second.text == "≥ 50 [40, 60] (1 of 2 seeds)"


def test_other_reports_stay_as_they_are() -> None:
    page = render(run({}, metric="accuracy"))
    for part in ("to threshold", "stage by stage", "environment", "≥"):
        assert part not in page, part
