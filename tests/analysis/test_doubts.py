"""What is doubtful about numbers: diverged seeds, empty gaps, hopeless corrections, low bounds, edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perdure import analysis, compare
from perdure.analysis import Curve, Results, notes
from perdure.analysis.metrics.needs import is_bound, rivals
from perdure.analysis.statistics import bootstrap_ratio, holm_note, ratio_of_means
from perdure.core.errors import PerdureError
from perdure.testing import tiny_stream

Build = Callable[..., Results]


def flat(config: dict[str, Any] | None = None, **levels: list[float]) -> Results:
    """Results whose strategies have one score on both tasks throughout, one value per seed."""
    scores = {
        name: np.tile(np.array(values)[:, None, None], (1, 1 if name in ("joint", "single") else 2, 2))
        for name, values in levels.items()
    }
    return Results(scores, config={"kinds": {name: name for name in levels}, **(config or {})})


# ---- seeds that diverged ------------------------------------------------------------------------------


def broken(build: Build, mark: str = "noted") -> tuple[Results, Results]:
    """Results of which seeds 1 and 4 of ewc and all of si diverged, and those without the two seeds."""
    names = ("naive", "ewc", "si", "joint", "single")
    whole = build(names, curves=True)
    scores = {name: values.copy() for name, values in whole.scores.items()}
    extras: dict[str, Any] = {}
    for name, lost in (("ewc", [1, 4]), ("si", list(range(6)))):
        scores[name][lost] = 0.25 if mark == "noted" else np.nan  # chance looks like a result
        extras[name] = {"diverged": lost} if mark == "noted" else {}
    results = Results(scores, whole.untrained, whole.curves, {}, extras, whole.config)
    few = [0, 2, 3, 5]
    rest = Results(
        {n: v[few] for n, v in whole.scores.items()},
        {n: v[few] for n, v in whole.untrained.items()},
        {n: Curve(c.steps, c.stage, c.scores[few]) for n, c in whole.curves.items()},
        config={**whole.config, "seeds": few},
    )
    return results, rest


@pytest.mark.parametrize("mark", ["noted", "nan"])
def test_diverged_seeds_are_left_out_of_every_metric_and_marked(build: Build, mark: str) -> None:
    results, rest = broken(build, mark)
    assert results.diverged == {"ewc": [1, 4], "si": [0, 1, 2, 3, 4, 5]}
    assert sum("diverged" in line and "ewc: 1, 4; si: all" in line for line in results.warnings) == 1
    table, expected = results.table(), rest.table()
    ewc = table[table["strategy"] == "ewc"].set_index("metric")
    assert set(ewc["seeds"]) == {4}
    assert set(ewc["diverged"]) == {2}
    for row in expected[expected["strategy"] == "ewc"].itertuples():
        assert ewc.loc[row.metric, ["mean", "low", "high"]].tolist() == [row.mean, row.low, row.high]
    gone = table[table["strategy"] == "si"]
    assert len(gone)
    assert gone[["mean", "low", "high"]].isna().all(axis=None)
    assert set(gone["seeds"]) == {0}
    assert np.isnan(results.metric("forgetting", "ewc")).tolist() == [s in (1, 4) for s in range(6)]


def test_diverged_seeds_are_left_out_of_comparisons(build: Build) -> None:
    results, rest = broken(build)
    for metric in ("average_accuracy", "forgetting", "gap_closed"):
        found = results.compare(metric, against="ewc").set_index("first").loc["naive"]
        other = rest.compare(metric, against="ewc").set_index("first").loc["naive"]
        assert found["seeds"] == 4
        for key in ("difference", "low", "high", "p", "improvement"):
            assert found[key] == pytest.approx(other[key])


def test_a_baseline_that_diverged_is_left_out_too(build: Build) -> None:
    results = build()
    results.extras["naive"] = {"diverged": [2]}
    results.extras["single"] = {"diverged": [3]}
    seeds = results.table().set_index(["strategy", "metric"])["seeds"]
    assert seeds["ewc", "gap_closed"] == seeds["ewc", "multi_task_gain"] == 5
    assert seeds["ewc", "rl_forward_transfer"] == 5
    assert seeds["ewc", "average_accuracy"] == 6


def test_scores_of_tasks_to_come_may_be_missing(build: Build) -> None:
    results = build(("naive", "ewc"))
    results.scores["ewc"][:, 0, 2] = np.nan
    assert results.diverged == {}
    results.scores["ewc"][3, 2, 2] = np.inf
    assert results.diverged == {"ewc": [3]}


def test_scores_in_long_form_say_which_seeds_diverged(build: Build) -> None:
    frame = broken(build)[0].frame()
    lost = frame[frame["diverged"]]
    assert set(lost["strategy"]) == {"ewc", "si"}
    assert set(lost[lost["strategy"] == "ewc"]["seed"]) == {1, 4}
    assert "diverged" not in build().frame()
    assert "diverged" not in build().table()


def test_an_infinite_score_of_a_task_to_come_is_none(build: Build) -> None:
    results = build(("naive", "ewc"))
    results.scores["ewc"][2, 0, 1:] = np.inf
    assert results.diverged == {}
    assert np.isnan(results.metric("forward_transfer", "ewc")).tolist() == [s == 2 for s in range(6)]
    assert np.isfinite(results.table()[["mean", "low", "high"]]).all(axis=None)


def test_a_run_saved_before_seeds_were_named_says_so_too(
    build: Build, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from perdure.cli.showing import show

    results = broken(build)[0]
    results.warnings = []
    results.save(tmp_path / "run")
    back = analysis.load(tmp_path / "run")
    assert back.warnings == []
    assert sum("ewc: 1, 4; si: all" in line for line in notes(back)) == 1
    show(back)
    assert " ".join(capsys.readouterr().out.split()).count("ewc: 1, 4; si: all") == 1


def test_the_printed_table_marks_them(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    from perdure.cli.showing import show

    show(broken(build)[0])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "]*" in lines["ewc"]
    assert "*" not in lines["naive"]
    assert "diverged" in lines["si"]


def test_a_run_names_the_seeds_that_diverged() -> None:
    results = compare(
        "split-digits | take(2)", ["naive"], model="mlp(hidden=[4])", seeds=[5, 3], epochs=1, quiet=True,
        lr=1e30,
    )  # fmt: skip
    assert results.extras["naive"]["diverged"] == [5, 3]
    assert results.diverged == {"naive": [5, 3]}
    assert results.table()["mean"].isna().any()
    (line,) = (line for line in results.warnings if "diverged" in line)
    assert line.endswith("naive: all.")
    assert "lower lr" in line


def test_tuning_counts_the_seeds_of_what_it_chose() -> None:
    results = compare(
        "split-digits | take(2)", ["naive"], model="mlp(hidden=[4])", seeds=2, epochs=1, quiet=True,
        tune={"lr": [0.1, 1e30]},
    )  # fmt: skip
    assert results.extras["naive"]["chosen"] == {"lr": 0.1}
    assert results.extras["naive"]["diverged"] == []
    assert results.diverged == {}
    assert not any("diverged" in line for line in results.warnings)


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_printed_table_shows_every_name_and_number(
    build: Build, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.cli.showing import show

    monkeypatch.setenv("COLUMNS", str(width))
    name = "replay(buffer=1000)+ewc(strength=100.0)+naive"
    results = build((name, "naive"))
    results.scores[name] = -100 * results.scores[name]
    results.extras[name]["diverged"] = [2]
    del results.config["stream"]
    show(results)
    text = capsys.readouterr().out
    table = "".join(text[: text.index("note:")].split())
    assert "…" not in table
    assert table.count("]*") == 3
    for row in results.table(["average_accuracy", "forgetting", "learning_accuracy"]).itertuples():
        assert f"{row.mean:.3f}" in table
        assert f"{row.high:.3f}]" in table
    if width == 200:
        assert name in text
        assert f"{row.mean:.3f} [" in text


# ---- ratios -------------------------------------------------------------------------------------------

NAIVE, JOINT, OTHER = [0.20, 0.20, 0.21, 0.20], [0.60, 0.50, 0.20, 0.70], [0.70, 0.75, 0.72, 0.80]


def test_gap_closed_divides_means_over_seeds() -> None:
    results = flat(naive=NAIVE, ewc=OTHER, joint=JOINT)
    row = results.table(["gap_closed"]).set_index("strategy").loc["ewc"]
    naive, joint, other = (np.array(v) for v in (NAIVE, JOINT, OTHER))
    assert row["mean"] == pytest.approx((other - naive).mean() / (joint - naive).mean())
    assert row["seeds"] == 4
    assert row["low"] < row["mean"] < row["high"]
    assert np.mean((other - naive) / (joint - naive)) < -10  # one seed decides the mean of ratios
    low, high = bootstrap_ratio((other - naive)[:, None], (joint - naive)[:, None])
    assert (row["low"], row["high"]) == (low, high)
    frame = results.compare("gap_closed").set_index("second")
    assert frame.loc["ewc", "difference"] == pytest.approx(-row["mean"])
    assert (frame.loc["ewc", "low"], frame.loc["ewc", "high"]) == pytest.approx((-high, -low))


def test_the_interval_resamples_numerator_and_denominator_together() -> None:
    both = np.random.default_rng(0).uniform(1, 2, (8, 3))
    assert bootstrap_ratio(2 * both, both) == pytest.approx((2, 2))  # apart, it would have a width
    counts = np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), 10_000)
    order = np.lexsort(np.concatenate([both**2, both], axis=1).T[::-1])
    means = [(counts @ v[order] / 8) for v in (both**2, both)]
    expected = np.quantile((means[0] / means[1]).mean(axis=1), [0.025, 0.975])
    assert bootstrap_ratio(both**2, both) == pytest.approx(tuple(expected))
    assert ratio_of_means(both**2, both) == pytest.approx(((both**2).mean(0) / both.mean(0)).mean())
    assert np.isnan(bootstrap_ratio(both[:1], both[:1])).all()


@pytest.mark.parametrize("joint", [[0.1, 0.3, 0.1, 0.3], [0.1, 0.1, 0.1, 0.1], NAIVE])
def test_gap_closed_is_refused_where_joint_is_not_clearly_above_naive(joint: list[float]) -> None:
    results = flat(naive=NAIVE, ewc=OTHER, joint=joint)
    with pytest.raises(PerdureError, match=r"expected joint clearly above naive .* train joint longer"):
        results.metric("gap_closed", "ewc")
    with pytest.raises(PerdureError, match="clearly above naive"):
        results.table(["gap_closed"])
    assert "gap_closed" not in set(results.table()["metric"])
    assert any(line.startswith("Gap closed is not reported") for line in results.warnings)


def test_lower_scores_can_be_the_better_ones() -> None:
    results = flat({"higher_is_better": False}, naive=JOINT, ewc=[0.3] * 4, joint=[0.1] * 4)
    assert np.isfinite(results.table(["gap_closed"])["mean"]).all()


def test_the_other_ratios_divide_means_too() -> None:
    results = flat(naive=[0.5, 0.6, 0.5, 0.4], single=[0.5, 1e-4, 0.5, 0.6])
    gain = results.table(["multi_task_gain"]).set_index("strategy").loc["naive", "mean"]
    assert gain == pytest.approx(100 * (0.5 - 0.40002500) / 0.40002500)
    steps, stage = np.arange(4), np.array([0, 0, 1, 1])
    base = np.array([0.5, 1 - 1e-6, 0.5, 0.5])
    curves = {
        "naive": Curve(steps, stage, np.full((4, 4, 2), 0.8)),
        "single": Curve(steps, stage, np.tile(base[:, None, None], (1, 4, 2))),
    }
    results = Results(results.scores, curves=curves, config={**results.config, "metric": "accuracy"})
    found = results.table(["rl_forward_transfer"])["mean"].item()
    assert found == pytest.approx((0.8 - base.mean()) / (1 - base.mean()))


# ---- comparisons --------------------------------------------------------------------------------------


def many(count: int, seeds: int, **more: list[float]) -> Results:
    rng = np.random.default_rng(0)
    levels = {f"m{i}": (0.5 + 0.03 * i + 0.001 * rng.standard_normal(seeds)).tolist() for i in range(count)}
    return flat(None, **levels, **more)


def test_pairs_are_those_with_one_baseline() -> None:
    results = many(11, 10, naive=np.linspace(0.10, 0.11, 10).tolist())
    table = results.compare()
    assert len(table) == 11
    assert set(table["second"]) == {"naive"}
    assert (table["p_holm"] < 0.05).all()  # all pairs: .129 at the least
    assert table.attrs["note"] is None
    every = results.compare(against="all")
    assert len(every) == 66
    assert every["p_holm"].min() > 0.05
    assert every.attrs["note"] == (
        "10 seeds and 66 pairs: no difference can be significant after Holm's correction (the smallest p is "
        "0.00195, times 66): use at least 12, or compare fewer pairs."
    )
    other = results.compare(against="m3")
    assert all("m3" in pair for pair in other[["first", "second"]].to_numpy().tolist())
    assert len(other) == 11
    assert len(many(3, 4).compare()) == 2  # without naive, against the first


def test_a_baseline_that_is_none_is_refused(build: Build) -> None:
    with pytest.raises(PerdureError, match="unknown strategy 'navie': did you mean naive"):
        build().compare(against="navie")
    with pytest.raises(PerdureError, match="forgetting of 'joint': expected scores after every task"):
        build().compare("forgetting", against="joint")


def test_a_note_where_no_comparison_can_be_significant() -> None:
    assert any("Holm's correction" in line for line in many(12, 7).warnings)
    assert not any("Holm's correction" in line for line in many(12, 10).warnings)
    assert holm_note(1, 6) is None
    assert holm_note(600, 30) == (
        "30 seeds and 600 pairs: no difference can be significant after Holm's correction (the smallest p is "
        "0.0001, times 600): compare fewer pairs."
    )


# ---- bounds -------------------------------------------------------------------------------------------


def test_bounds_are_known_by_kind_or_by_what_the_run_says(build: Build) -> None:
    results = build(("naive", "joint", "single", "cumulative", "cumulative+ewc", "mine"), bounds=["mine"])
    assert [n for n in results.strategies if not is_bound(results, n)] == ["naive"]
    run = compare(
        "split-digits | take(2)", ["naive", "cumulative + ewc"], model="mlp(hidden=[4])", seeds=1, epochs=1,
        quiet=True,
    )  # fmt: skip
    assert (run.config["bounds"], run.config["together"]) == (["cumulative + ewc"], [])


def test_who_learns_several_tasks_at_once_competes_with_its_like(build: Build) -> None:
    results = build(("naive", "ewc", "single", "told", "one-stage"), together=["told"])
    results.scores["one-stage"] = results.scores["one-stage"][:, -1:]
    assert rivals(results) == (["naive", "ewc"], ["told", "one-stage"])
    assert not is_bound(results, "one-stage")
    run = compare(
        tiny_stream("task", tasks=2), ["balance", "merge(pretrain=1, pretrain_on=all)"],
        model="mlp(hidden=[4])", seeds=1, epochs=1, quiet=True,
    )  # fmt: skip
    assert (run.config["bounds"], run.config["together"]) == ([], [run.strategies[1]])
    assert rivals(run) == ([], run.strategies)


def test_where_all_tasks_are_learned_at_once_no_gap_is_missed() -> None:
    results = flat(naive=JOINT, joint=JOINT, replay=OTHER)
    assert any("Gap closed" in line for line in results.warnings)
    levels = {name: values[:, -1:] for name, values in results.scores.items()}
    assert not any("Gap closed" in line for line in Results(levels, config=results.config).warnings)


def test_a_bound_below_what_it_bounds_is_told() -> None:
    config = {"epochs": 7}
    results = flat(config, naive=[0.18] * 4, cumulative=[0.64] * 4, joint=[0.186] * 4)
    (line,) = (line for line in results.warnings if "should bound" in line)
    assert line.startswith("joint lies below cumulative, which it should bound, by 0.454")
    assert "epochs=14" in line
    low = flat(naive=[0.18] * 4, replay=OTHER, cumulative=JOINT, joint=[0.95] * 4)
    assert [line.split()[0] for line in low.warnings if "should bound" in line] == ["cumulative"]
    fine = flat(naive=[0.18] * 4, replay=JOINT, joint=[0.95] * 4, single=[0.97] * 4)
    assert not any("should bound" in line for line in fine.warnings)


# ---- what is left out, and edges ----------------------------------------------------------------------


def test_what_has_no_meaning_is_left_out(build: Build) -> None:
    joint = build(("joint",))
    for metric in ("forgetting", "backward_transfer", "min_accuracy", "average_incremental_accuracy"):
        assert joint.table([metric]).empty
        assert joint.compare(metric).empty
    assert joint.table(["forgetting", "average_accuracy"])["metric"].tolist() == ["average_accuracy"]
    assert build(("naive",), tasks=1).table(["forgetting"]).empty
    with pytest.raises(PerdureError, match="untrained model"):
        build(("naive", "joint"), untrained=False).table(["forward_transfer"])


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (0.1, None),
        (0.5, "naive: tuning chose lr=0.5, the largest that it tried: try larger ones too."),
        (0.01, "naive: tuning chose lr=0.01, the smallest that it tried: try smaller ones too."),
    ],
)
def test_a_choice_at_the_edge_is_told(build: Build, chosen: float, says: str | None) -> None:
    results = build(("naive",))
    tried = [{"lr": lr, "weight_decay": w, "validation": 0.5} for lr in (0.1, 0.01, 0.5) for w in (0.0, 0.1)]
    extras = {"naive": {"chosen": {"lr": chosen, "weight_decay": 0.0}, "tried": tried}}
    told = Results(results.scores, extras=extras, config=results.config).warnings
    assert [line for line in told if "tuning" in line] == ([says] if says else [])


def test_one_value_is_no_edge(build: Build) -> None:
    extras = {"naive": {"chosen": {"lr": 0.1}, "tried": [{"lr": 0.1, "validation": 0.5}]}}
    results = Results(build(("naive",)).scores, extras=extras)
    assert not any("tuning" in line for line in results.warnings)


def test_a_saved_run_keeps_its_warnings(build: Build, tmp_path: Any) -> None:
    results = broken(build)[0]
    results.save(tmp_path / "run")
    back = analysis.load(tmp_path / "run")
    assert back.warnings == results.warnings
    assert back.diverged == results.diverged
    assert all(line in notes(back) for line in results.warnings)
