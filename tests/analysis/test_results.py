"""Results: metrics by name, tables, comparisons, notes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from perdure import analysis
from perdure.analysis import Curve, Results

Build = Callable[..., Results]


def test_metric_gives_one_number_per_seed(results: Results) -> None:
    values = results.metric("forgetting", "naive")
    assert np.array_equal(values, analysis.forgetting(results.scores["naive"]))
    assert values.shape == (6,)
    other = results.metric("forgetting", "naive", dialect="avalanche")
    assert np.array_equal(other, -results.metric("backward_transfer", "naive"))


def test_baselines_are_found_by_kind(results: Results) -> None:
    joint, single, naive = (results.scores[name][:, -1] for name in ("joint", "single", "naive"))
    scores = results.scores["ewc"]
    for name, expected in {
        "gap_closed": analysis.gap_closed(scores, naive, joint),
        "multi_task_gain": analysis.multi_task_gain(scores, single),
        "safeness": analysis.safeness(scores, single),
        "intransigence": analysis.intransigence(scores, joint),
        "forward_transfer": analysis.forward_transfer(scores, results.untrained["ewc"]),
        "zero_shot_transfer": analysis.zero_shot_transfer(scores, results.untrained["ewc"]),
    }.items():
        assert np.array_equal(results.metric(name, "ewc"), expected), name
    assert results.metric("gap_closed", "naive") == pytest.approx(np.zeros(6))
    assert results.metric("gap_closed", "joint") == pytest.approx(np.ones(6))


def test_kinds_rename_baselines(build: Build) -> None:
    renamed = build(("sequential", "ewc"), kinds={"sequential": "naive", "ewc": "joint"})
    assert renamed.metric("gap_closed", "ewc") == pytest.approx(np.ones(6))


def test_names_stand_in_for_kinds(build: Build) -> None:
    assert build(("naive(lr=1)", "ewc", "joint"), kinds={}).metric(
        "gap_closed", "naive(lr=1)"
    ) == pytest.approx(np.zeros(6))


def test_intransigence_falls_back_on_single_task_scores(build: Build) -> None:
    results = build(("naive", "single"))
    expected = analysis.intransigence(results.scores["naive"], results.scores["single"][:, 0])
    assert np.array_equal(results.metric("intransigence", "naive"), expected)


def test_efficiencies_come_from_extras(results: Results) -> None:
    results.extras["ewc"] = {"parameters_per_stage": [1, 2, 2, 2], "pass_flops": [1], "training_flops": [4]}
    assert results.metric("model_size_efficiency", "ewc").tolist() == [0.625] * 6
    assert results.metric("compute_efficiency", "ewc").tolist() == [0.25] * 6


def test_table(results: Results) -> None:
    table = results.table()
    assert list(table.columns) == ["strategy", "metric", "mean", "low", "high", "seeds"]
    assert not table.duplicated(["strategy", "metric"]).any()
    assert set(table[table["strategy"] == "joint"]["metric"]) == {
        "average_accuracy",
        "gap_closed",
        "multi_task_gain",
        "safeness",
    }
    row = table[(table["strategy"] == "ewc") & (table["metric"] == "forgetting")].iloc[0]
    values = results.metric("forgetting", "ewc")
    assert row["mean"] == values.mean()
    assert (row["low"], row["high"]) == analysis.bootstrap_interval(values)
    assert row["seeds"] == 6
    assert table.equals(results.table())


def test_table_of_one_dialect_and_confidence(results: Results) -> None:
    table = results.table(metrics=["forgetting"], dialect="avalanche", confidence=0.5)
    values = results.metric("forgetting", "naive", dialect="avalanche")
    assert table["strategy"].tolist() == ["naive", "ewc"]
    assert table["mean"][0] == values.mean()
    assert (table["low"][0], table["high"][0]) == analysis.bootstrap_interval(values, 0.5)


def test_undefined_seeds_do_not_count(build: Build) -> None:
    results = build()
    results.scores["single"][0] = 0.0
    table = results.table(metrics=["multi_task_gain"])
    assert set(table["seeds"]) == {5}
    assert np.isfinite(table["mean"]).all()
    results.scores["single"][:] = 0.0
    assert results.table(metrics=["multi_task_gain"]).empty


def test_identical_replicas_give_a_point() -> None:
    same = Results({"naive": np.tile(np.random.default_rng(0).uniform(size=(1, 3, 3)), (4, 1, 1))})
    table = same.table()
    assert (table["low"] == table["high"]).all()
    assert (table["low"] == table["mean"]).all()


def test_permuting_seeds_changes_nothing(results: Results) -> None:
    order = [3, 1, 5, 0, 2, 4]
    moved = Results(
        {name: scores[order] for name, scores in results.scores.items()},
        {name: scores[order] for name, scores in results.untrained.items()},
        {n: Curve(c.steps, c.stage, c.scores[order]) for n, c in results.curves.items()},
        config={**results.config, "seeds": order},
    )
    numbers = ["mean", "low", "high"]
    assert moved.table()[numbers].to_numpy() == pytest.approx(results.table()[numbers].to_numpy(), abs=1e-12)
    one, two = (r.compare().select_dtypes("number").to_numpy() for r in (results, moved))
    assert one == pytest.approx(two, abs=1e-12)


def test_frame(results: Results) -> None:
    frame = results.frame()
    assert list(frame.columns) == ["strategy", "seed", "stage", "task", "score", "task_name"]
    assert len(frame) == 6 * (16 + 16 + 4 + 4)
    assert frame["stage"].dtype.kind == frame["task"].dtype.kind == "i"
    row = frame[
        (frame["strategy"] == "ewc") & (frame["seed"] == 2) & (frame["stage"] == 3) & (frame["task"] == 1)
    ]
    assert row["score"].item() == results.scores["ewc"][2, 3, 1]
    assert row["task_name"].item() == "digits 2/3"


def test_compare(results: Results) -> None:
    table = results.compare()
    assert table[["first", "second"]].to_numpy().tolist() == [
        ["naive", name] for name in ("ewc", "joint", "single")
    ]
    row = table.iloc[0]
    one, two = (results.metric("average_accuracy", name) for name in ("naive", "ewc"))
    assert (row["first"], row["second"]) == ("naive", "ewc")
    assert row["difference"] == pytest.approx((one - two).mean())
    assert (row["low"], row["high"]) == analysis.bootstrap_interval(one - two)
    assert row["p"] == analysis.paired_test(one, two) == 2 / 64
    assert row["improvement"] == analysis.probability_of_improvement(one, two)
    assert table["p_holm"].tolist() == analysis.holm(table["p"]).tolist()


def test_improvement_goes_the_metrics_way(results: Results) -> None:
    table = results.compare("forgetting")
    assert table[["first", "second"]].to_numpy().tolist() == [["naive", "ewc"]]
    assert table["difference"][0] > 0  # naive forgets more
    assert table["improvement"][0] == 0  # so it is never the better one


def test_few_seeds_are_warned_of(build: Build) -> None:
    assert build(seeds=6).warnings == []
    assert [line.split(":")[0] for line in build(seeds=3).warnings] == ["3 seeds", "3 seeds"]
    one = build(seeds=1)
    assert one.table()["low"].isna().all()
    assert one.compare()["p"].isna().all()


def test_names_and_defaults() -> None:
    bare = Results({"a": np.zeros((2, 3, 3))})
    assert (bare.seeds, bare.tasks, bare.strategies) == ([0, 1], ["task 1", "task 2", "task 3"], ["a"])


def test_notes(build: Build) -> None:
    assert analysis.notes(build()) == [
        "ewc: EWC, SI, MAS and LwF near chance in class-incremental learning is expected, not a bug "
        "(van de Ven and Tolias 2019)."
    ]
    assert analysis.notes(build(setting="domain")) == []
    texts = " ".join(analysis.notes(build(("si", "replay"), untrained=False, higher_is_better=False)))
    for part in (
        "No naive",
        "No joint",
        "No single",
        "not recorded for si, replay",
        "Lower scores",
        "si: EWC",
    ):
        assert part in texts


def test_numpy_numbers_in_the_configuration_become_plain() -> None:
    config = {"lr": np.float32(0.5), "sizes": np.arange(3), "pair": (1, 2)}
    kept = Results({"a": np.zeros((2, 3, 3))}, config=config).config
    assert (kept["lr"], kept["sizes"], kept["pair"]) == (0.5, [0, 1, 2], [1, 2])


def test_tables_print_every_column_and_row(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    results = build(("naive", "a strategy whose name is long (1)", "a strategy whose name is long (2)"))
    for table in (results.table(), results.compare(), results.pairwise()):
        text = str(table)
        assert "..." not in text
        assert len(text.splitlines()) == len(table) + 1
        assert all(column in text for column in table.columns)
