"""Every metric against arithmetic done by hand, and the properties that hold for any scores."""

from __future__ import annotations

import numpy as np
import pytest

from perdure import analysis
from perdure.analysis.metrics import dialects, registry
from perdure.analysis.metrics.matrix import plasticity
from perdure.core.errors import PerdureError

# Task 1 rises to .85 before it is lost; task 3 scores best before it is learned (.95) and, among the stages
# that have seen it, at the very end (.90): so every dialect of forgetting gives another number.
R = np.array(
    [
        [0.80, 0.30, 0.95, 0.10],
        [0.82, 0.90, 0.40, 0.20],
        [0.85, 0.50, 0.80, 0.30],
        [0.50, 0.60, 0.90, 0.70],
    ]
)
B = np.array([0.1, 0.2, 0.1, 0.3])


def test_average_accuracy() -> None:
    assert analysis.average_accuracy(R) == pytest.approx((0.5 + 0.6 + 0.9 + 0.7) / 4)
    assert analysis.average_accuracy(R[-1:]) == pytest.approx(0.675)  # one stage is enough


def test_average_incremental_accuracy() -> None:
    seen = [0.80, (0.82 + 0.90) / 2, (0.85 + 0.50 + 0.80) / 3, 0.675]
    assert analysis.average_over_seen(R) == pytest.approx(seen)
    assert analysis.average_incremental_accuracy(R) == pytest.approx(sum(seen) / 4)


def test_pooled_incremental_accuracy_weighs_by_test_size() -> None:
    sizes = [1, 1, 2, 4]
    seen = [0.80, 0.86, (0.85 + 0.50 + 2 * 0.80) / 4, (0.5 + 0.6 + 2 * 0.9 + 4 * 0.7) / 8]
    assert analysis.pooled_incremental_accuracy(R, sizes) == pytest.approx(sum(seen) / 4)


def test_backward_transfer() -> None:
    assert analysis.backward_transfer(R) == pytest.approx(((0.5 - 0.8) + (0.6 - 0.9) + (0.9 - 0.8)) / 3)


def test_forward_transfer() -> None:
    assert analysis.forward_transfer(R, B) == pytest.approx(((0.3 - 0.2) + (0.4 - 0.1) + (0.3 - 0.3)) / 3)


def test_forgetting_takes_the_maximum_over_all_earlier_stages() -> None:
    assert analysis.forgetting(R) == pytest.approx(((0.85 - 0.5) + (0.9 - 0.6) + (0.95 - 0.9)) / 3)


def test_forgetting_leaves_the_last_stage_out_and_may_be_negative() -> None:
    assert analysis.forgetting(np.array([[0.5, 0.1], [0.7, 0.9]])) == pytest.approx(0.5 - 0.7)


def test_learning_accuracy_and_plasticity() -> None:
    assert plasticity(R) == pytest.approx([0.8, 0.9, 0.8, 0.7])
    assert analysis.learning_accuracy(R) == pytest.approx(0.8)


def test_intransigence() -> None:
    joint = np.array([0.9, 0.9, 1.0, 0.6])
    assert analysis.intransigence(R, joint) == pytest.approx((0.1 + 0.0 + 0.2 - 0.1) / 4)


def test_multi_task_gain_and_safeness() -> None:
    single = np.array([0.5, 0.8, 0.9, 0.7])
    assert analysis.multi_task_gain(R, single) == pytest.approx(100 / 4 * (0 - 0.2 / 0.8 + 0 + 0))
    assert analysis.multi_task_gain(R, single, lower_is_better=True) == pytest.approx(6.25)
    assert analysis.safeness(R, single) == pytest.approx(-0.2)


def test_multi_task_gain_of_negative_scores_keeps_its_sign() -> None:
    better = np.array([[-1.0]])  # an error of 1 instead of 2 is a gain of one half
    assert analysis.multi_task_gain(better, np.array([-2.0])) == pytest.approx(50)


def test_multi_task_gain_is_undefined_at_zero() -> None:
    assert np.isnan(analysis.multi_task_gain(R, np.array([0.0, 0.8, 0.9, 0.7])))


def test_gap_closed() -> None:
    naive, joint = np.full(4, 0.475), np.full(4, 0.875)
    assert analysis.gap_closed(R, naive, joint) == pytest.approx((0.675 - 0.475) / 0.4)
    assert np.isnan(analysis.gap_closed(R, joint, joint))


def test_isolated_forgetting() -> None:
    first = ((0.80 - 0.82) + (0.82 - 0.85) + (0.85 - 0.50)) / 0.85
    second = ((0.90 - 0.50) + (0.50 - 0.60)) / 0.90
    third = (0.80 - 0.90) / 0.95
    assert analysis.isolated_forgetting(R) == pytest.approx((first + second + third) / 6)


def test_zero_shot_transfer() -> None:
    second = (0.30 - 0.20) / 0.90
    third = ((0.95 - 0.10) + (0.40 - 0.95)) / 0.95
    fourth = ((0.10 - 0.30) + (0.20 - 0.10) + (0.30 - 0.20)) / 0.70
    assert analysis.zero_shot_transfer(R, B) == pytest.approx((second + third + fourth) / 6)


def test_cora_metrics_of_a_task_that_never_scores_are_zero() -> None:
    assert analysis.isolated_forgetting(np.zeros((3, 3))) == 0
    assert analysis.zero_shot_transfer(np.zeros((3, 3)), np.zeros(3)) == 0


def test_efficiencies() -> None:
    assert analysis.model_size_efficiency(np.array([100.0, 200, 400])) == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert analysis.model_size_efficiency(np.array([100.0, 50])) == 1  # cut at 1
    once, training = np.array([10.0, 10]), np.array([20.0, 40])
    assert analysis.compute_efficiency(once, training) == pytest.approx((0.5 + 0.25) / 2)
    assert analysis.compute_efficiency(once, training, epsilon=2) == pytest.approx(0.75)


FORGETTING = {
    "paper": (0.35 + 0.30 + 0.05) / 3,
    "avalanche": ((0.80 - 0.50) + (0.90 - 0.60) + (0.80 - 0.90)) / 3,
    "mammoth": ((0.85 - 0.50) + (0.90 - 0.60) + (0.90 - 0.90)) / 3,
    "pilot": ((0.85 - 0.50) + (0.90 - 0.60) + (0.90 - 0.90)) / 3,
    "continuum": ((0.82 - 0.50) + (0.90 - 0.60)) / 3,
    "libcontinual": ((0.80 - 0.50) + (0.90 - 0.60)) / 3,
}
FORWARD = {
    "paper": 0.4 / 3,
    "capymoa": (0.30 + 0.95 + 0.10 + 0.40 + 0.20 + 0.30) / 6,
    "continuum": (0.82 + 0.85 + 0.50 + 0.50 + 0.60 + 0.90) / 6,
}


@pytest.mark.parametrize("dialect", FORGETTING)
def test_dialects_of_forgetting(dialect: str) -> None:
    function, _ = registry.lookup("forgetting", dialect)
    assert function(R) == pytest.approx(FORGETTING[dialect])


@pytest.mark.parametrize("dialect", FORWARD)
def test_dialects_of_forward_transfer(dialect: str) -> None:
    function, needs = registry.lookup("forward_transfer", dialect)
    assert function(*((R, B) if "untrained" in needs else (R,))) == pytest.approx(FORWARD[dialect])


def test_hand_matrix_tells_the_dialects_apart() -> None:
    for values in (FORGETTING, FORWARD):
        distinct = {name: value for name, value in values.items() if name != "pilot"}
        assert len({round(value, 6) for value in distinct.values()}) == len(distinct)


def test_dialects_of_two_tasks() -> None:
    two = R[:2, :2]
    assert dialects.forgetting_continuum(two) == 0
    assert dialects.forgetting_libcontinual(two) == 0
    assert dialects.forgetting_mammoth(two) == 0  # .82 after task 2 is the best


def test_other_dialects_keep_the_papers_definition() -> None:
    assert registry.lookup("backward_transfer", "mammoth") == registry.lookup("backward_transfer")


STAGED = [
    analysis.average_incremental_accuracy,
    analysis.backward_transfer,
    analysis.forgetting,
    analysis.learning_accuracy,
    analysis.isolated_forgetting,
    dialects.forgetting_avalanche,
    dialects.forgetting_mammoth,
    dialects.forgetting_continuum,
    dialects.forgetting_libcontinual,
    dialects.forward_transfer_capymoa,
    dialects.forward_transfer_continuum,
]


@pytest.fixture(name="scores")
def _scores() -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(7, 5, 5))


@pytest.mark.parametrize("metric", STAGED)
def test_a_replica_does_not_depend_on_those_beside_it(metric: registry.Function, scores: np.ndarray) -> None:
    together = metric(scores)
    assert together.shape == (7,)
    assert np.array_equal(together, [metric(one) for one in scores])


def test_backward_transfer_is_minus_the_avalanche_forgetting(scores: np.ndarray) -> None:
    assert np.array_equal(analysis.backward_transfer(scores), -dialects.forgetting_avalanche(scores))


def test_forgetting_is_at_least_the_avalanche_forgetting(scores: np.ndarray) -> None:
    assert (analysis.forgetting(scores) >= dialects.forgetting_avalanche(scores)).all()
    assert (dialects.forgetting_mammoth(scores) >= 0).all()


def test_a_constant_shift_moves_averages_and_not_differences(scores: np.ndarray) -> None:
    assert analysis.average_accuracy(scores + 1) == pytest.approx(analysis.average_accuracy(scores) + 1)
    assert analysis.forgetting(scores + 1) == pytest.approx(analysis.forgetting(scores))


@pytest.mark.parametrize("metric", [m for m in STAGED if m is not analysis.average_incremental_accuracy])
def test_one_stage_for_many_tasks_is_refused(metric: registry.Function) -> None:
    with pytest.raises(PerdureError, match="one stage per task; found the shape"):
        metric(R[-1:])


def test_one_task_has_nothing_to_forget() -> None:
    for metric in (analysis.forgetting, analysis.backward_transfer, analysis.isolated_forgetting):
        with pytest.raises(PerdureError, match="at least 2 tasks; found 1"):
            metric(np.ones((3, 1, 1)))


def test_registry_is_complete_and_described() -> None:
    for name, metric in analysis.METRICS.items():
        assert metric.label, name
        assert metric.formula, name
        assert metric.function.__name__ == name
    for overrides in analysis.DIALECTS.values():
        assert set(overrides) <= set(analysis.METRICS)
