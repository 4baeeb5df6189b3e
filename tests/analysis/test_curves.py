"""Metrics of evaluation curves against arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perdure.analysis.metrics import curves
from perdure.core.errors import PerdureError

STAGE = np.array([0, 0, 1, 1, 1])
SCORES = np.array([[0.15, 0.1], [0.8, 0.1], [0.2, 0.5], [0.6, 0.9], [0.5, 0.7]])
# Each task learned alone, one after the other: what is not its own says nothing of it.
SINGLE = np.array([[0.2, 0.1], [0.6, 0.1], [0.9, 0.5], [0.9, 0.3], [0.9, 0.7]])


def test_anytime_average_accuracy_counts_seen_tasks_only() -> None:
    expected = (0.15 + 0.8 + (0.2 + 0.5) / 2 + (0.6 + 0.9) / 2 + (0.5 + 0.7) / 2) / 5
    assert curves.anytime_average_accuracy(SCORES, STAGE) == pytest.approx(expected)


def test_min_accuracy_is_the_lowest_after_the_tasks_own_stage() -> None:
    assert curves.min_accuracy(SCORES, STAGE) == pytest.approx(0.2)


def test_worst_case_accuracy() -> None:
    assert curves.worst_case_accuracy(SCORES, STAGE) == pytest.approx(0.7 / 2 + (1 - 1 / 2) * 0.2)


def test_windowed_forgetting_and_plasticity() -> None:
    # Task 2 counts from its own stage on, so its rise from .1 to .9 does not.
    assert curves.windowed_forgetting(SCORES, STAGE) == pytest.approx(((0.8 - 0.2) + (0.9 - 0.7)) / 2)
    assert curves.windowed_plasticity(SCORES, STAGE) == pytest.approx(((0.8 - 0.15) + (0.9 - 0.5)) / 2)


def test_a_drop_must_fit_into_the_window() -> None:
    falling = np.array([[0.9], [0.7], [0.4]])
    stage = np.zeros(3, dtype=int)
    assert curves.windowed_forgetting(falling, stage, window=2) == pytest.approx(0.7 - 0.4)
    assert curves.windowed_forgetting(falling, stage, window=3) == pytest.approx(0.9 - 0.4)
    assert curves.windowed_plasticity(falling, stage) == 0
    with pytest.raises(PerdureError, match="window of at least 2"):
        curves.windowed_forgetting(falling, stage, window=1)


def test_rl_forward_transfer() -> None:
    first = ((0.15 + 0.8) / 2 - 0.4) / (1 - 0.4)
    second = ((0.5 + 0.9 + 0.7) / 3 - 0.5) / (1 - 0.5)
    assert curves.rl_forward_transfer(SCORES, STAGE, SINGLE, STAGE) == pytest.approx((first + second) / 2)
    assert np.isnan(curves.rl_forward_transfer(SCORES, STAGE, np.ones((5, 2)), STAGE))
    assert curves.area_under_curve(SCORES, STAGE) == pytest.approx([(0.15 + 0.8) / 2, (0.5 + 0.9 + 0.7) / 3])


def test_rl_forgetting() -> None:
    assert curves.rl_forgetting(SCORES, STAGE, last=1) == pytest.approx((0.8 - 0.5) / 2)
    assert curves.rl_forgetting(SCORES, STAGE, last=2) == pytest.approx((0.475 - 0.55) / 2)
    assert curves.rl_forgetting(SCORES, STAGE) == pytest.approx((0.475 - (0.2 + 0.6 + 0.5) / 3) / 2)


def test_replicas_are_independent() -> None:
    many = np.random.default_rng(0).uniform(size=(6, 5, 2))
    for metric in (
        curves.anytime_average_accuracy,
        curves.min_accuracy,
        curves.worst_case_accuracy,
        curves.windowed_forgetting,
        curves.windowed_plasticity,
        curves.rl_forgetting,
    ):
        assert np.array_equal(metric(many, STAGE), [metric(one, STAGE) for one in many])


def test_a_stage_without_evaluation_is_refused() -> None:
    with pytest.raises(PerdureError, match="found none in stage 2: use a smaller eval_every"):
        curves.min_accuracy(SCORES, np.zeros(5, dtype=int))
