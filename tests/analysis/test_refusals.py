"""What results refuse: baselines that were not measured, names that do not exist, shapes that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from perdure.analysis import Curve, Results
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("forward_transfer", r"expected the scores of the untrained model; found none"),
        ("zero_shot_transfer", r"untrained model; found none"),
        ("intransigence", r"expected a joint or single baseline; found only naive, ewc: add 'joint'"),
        ("gap_closed", r"expected a joint baseline"),
        ("multi_task_gain", r"expected a single baseline"),
        ("safeness", r"expected a single baseline"),
        ("min_accuracy", r"expected an evaluation curve; found none: run with eval_every"),
        ("anytime_average_accuracy", r"expected an evaluation curve"),
        ("rl_forward_transfer", r"expected an evaluation curve"),
        ("model_size_efficiency", r"parameters_per_stage"),
        ("compute_efficiency", r"pass_flops"),
    ],
)
def test_what_was_not_measured_is_refused(build: Build, metric: str, says: str) -> None:
    bare = build(("naive", "ewc"), curves=False, untrained=False)
    with pytest.raises(PerdureError, match=f"{metric} of 'ewc': .*{says}") as caught:
        bare.metric(metric, "ewc")
    assert "\n" not in str(caught.value)
    assert metric not in set(bare.table()["metric"])
    with pytest.raises(PerdureError, match=says):
        bare.table(metrics=[metric])


def test_gap_closed_without_naive_is_refused(build: Build) -> None:
    with pytest.raises(PerdureError, match="expected a naive baseline; found only ewc, joint"):
        build(("ewc", "joint")).metric("gap_closed", "ewc")


def test_pooled_accuracy_needs_sizes(build: Build) -> None:
    results = build()
    del results.config["test_sizes"]
    with pytest.raises(PerdureError, match="number of test samples of every task"):
        results.metric("pooled_incremental_accuracy", "naive")


def test_rl_forward_transfer_needs_the_single_curve(build: Build) -> None:
    results = build()
    assert np.isfinite(results.metric("rl_forward_transfer", "naive")).all()
    del results.curves["single"]
    with pytest.raises(PerdureError, match="evaluation curve of a single baseline"):
        results.metric("rl_forward_transfer", "naive")


@pytest.mark.parametrize("metric", ["forgetting", "forward_transfer", "min_accuracy", "intransigence"])
def test_one_stage_strategies_forget_nothing(results: Results, metric: str) -> None:
    with pytest.raises(PerdureError, match=f"{metric} of 'joint': expected scores after every task"):
        results.metric(metric, "joint")


def test_unknown_names_are_refused_with_the_nearest(results: Results) -> None:
    with pytest.raises(PerdureError, match="unknown metric 'forgeting': did you mean forgetting"):
        results.metric("forgeting", "naive")
    with pytest.raises(PerdureError, match="unknown strategy 'navie': did you mean naive"):
        results.metric("forgetting", "navie")
    with pytest.raises(PerdureError, match="unknown dialect 'mamoth': did you mean mammoth"):
        results.table(dialect="mamoth")
    with pytest.raises(PerdureError, match="unknown metric"):
        results.table(metrics=["x"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"scores": {}}, "at least one strategy"),
        ({"scores": {"a": np.zeros((2, 3))}}, r"scores of 'a' with the shape"),
        ({"scores": {"a": np.zeros((2, 2, 3))}}, r"found \[2, 2, 3\]"),
        ({"scores": {"a": np.zeros((2, 3, 3)), "b": np.zeros((4, 3, 3))}}, r"'b' .* found \[4, 3, 3\]"),
        ({"scores": {"a": np.zeros((2, 3, 3))}, "config": {"seeds": [1]}}, r"1 seeds"),
        ({"scores": {"a": np.zeros((2, 3, 3))}, "untrained": {"a": np.zeros(3)}}, "untrained scores of 'a'"),
        ({"scores": {"a": np.zeros((2, 3, 3))}, "costs": {"b": {}}}, "unknown strategy 'b'"),
        ({"scores": {"a": np.zeros((2, 3, 3))}, "config": {"model": object()}}, "config that JSON can hold"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(PerdureError, match=says):
        Results(**arguments)  # type: ignore[arg-type]


def test_bad_curves_are_refused() -> None:
    with pytest.raises(PerdureError, match=r"found \(2,\), \(3,\) and \(1, 2, 3\)"):
        Curve(np.arange(2), np.arange(3), np.zeros((1, 2, 3)))
    with pytest.raises(PerdureError, match="curve of 'a' over 2 seeds and 3 tasks"):
        Results(
            {"a": np.zeros((2, 3, 3))}, curves={"a": Curve(np.arange(2), np.arange(2), np.zeros((1, 2, 3)))}
        )


@pytest.mark.parametrize("name", ["half \ud83d", "tab\t", "two\nlines", "\x1b[31m", "\x85", 3])
def test_names_that_cannot_be_written_are_refused(name: object) -> None:
    with pytest.raises(PerdureError, match="names of strategies without control characters") as caught:
        Results({name: np.zeros((2, 3, 3))})  # type: ignore[dict-item]
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()
