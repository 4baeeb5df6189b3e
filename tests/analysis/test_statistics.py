"""Statistics against hand values and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from perdure.analysis import statistics
from perdure.core.errors import PerdureError

RNG = np.random.default_rng(0)
A = RNG.normal(0.6, 0.1, 9)
C = RNG.normal(0.5, 0.1, 9)


def test_interval_agrees_with_scipy() -> None:
    values = RNG.exponential(size=40)
    for confidence in (0.8, 0.95):
        other = scipy.stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, confidence_level=confidence, method="percentile", rng=1
        ).confidence_interval
        mine = statistics.bootstrap_interval(values, confidence, samples=20_000)
        assert mine == pytest.approx((other.low, other.high), abs=0.01)


def test_interval_of_two_values_by_hand() -> None:
    # The mean of two draws from {0, 1} is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4.
    assert statistics.bootstrap_interval([0.0, 1.0], confidence=0.95) == (0.0, 1.0)
    assert statistics.bootstrap_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)


def test_interval_is_deterministic_and_takes_a_generator() -> None:
    first = statistics.bootstrap_interval(A)
    assert statistics.bootstrap_interval(A) == first
    assert statistics.bootstrap_interval(A, seed=np.random.default_rng(0)) == first
    assert statistics.bootstrap_interval(A, seed=1) != first
    assert statistics.bootstrap_interval(A[::-1]) == first  # the order of the seeds does not matter


def test_equal_values_give_the_point_exactly() -> None:
    assert statistics.bootstrap_interval([0.1, 0.1, 0.1]) == (0.1, 0.1)


def test_one_seed_has_no_interval() -> None:
    assert np.isnan(statistics.bootstrap_interval([0.4])).all()
    with pytest.raises(PerdureError, match="one value per seed"):
        statistics.bootstrap_interval([])


def test_confidence_is_checked() -> None:
    with pytest.raises(PerdureError, match="between 0 and 1; found 95"):
        statistics.bootstrap_interval(A, confidence=95)


def test_band_has_an_interval_per_column() -> None:
    rows = np.stack([A, np.full(9, 0.3)], axis=1).reshape(9, 1, 2)
    low, high = statistics.bootstrap_band(rows)
    assert low.shape == high.shape == (1, 2)
    assert low[0, 1] == high[0, 1] == 0.3
    assert low[0, 0] < A.mean() < high[0, 0]


def test_coverage_of_normal_samples() -> None:
    draws = np.random.default_rng(5).standard_normal((500, 10))
    intervals = [statistics.bootstrap_interval(row, samples=1000) for row in draws]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    # The percentile interval is known to be narrow at n = 10: the z interval without a t correction has .92.
    assert 0.86 < covered < 0.97


def test_interquartile_mean() -> None:
    assert statistics.interquartile_mean([100, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    values = RNG.normal(size=(11, 3))
    assert statistics.interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values.ravel(), 0.25))


def test_probability_of_improvement() -> None:
    assert statistics.probability_of_improvement([1, 2], [0, 2]) == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    u = scipy.stats.mannwhitneyu(A, C).statistic
    assert statistics.probability_of_improvement(A, C) == pytest.approx(u / 81)


def test_performance_profile() -> None:
    profile = statistics.performance_profile([[0.1, 0.5], [0.9, 0.5]], [0.0, 0.1, 0.5, 0.95])
    assert profile.tolist() == [1.0, 0.75, 0.25, 0.0]


def test_paired_test_is_exact_for_few_seeds() -> None:
    other = scipy.stats.permutation_test(
        (A, C), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert statistics.paired_test(A, C) == pytest.approx(other.pvalue)
    assert statistics.paired_test(C, A) == statistics.paired_test(A, C)


def test_paired_test_by_hand() -> None:
    # Of the 8 sign patterns of (1, 2, 3) only +++ and --- reach a sum of 6; four reach 4 for (3, 2, -1).
    assert statistics.paired_test([1, 2, 3], [0, 0, 0]) == 2 / 8
    assert statistics.paired_test([3, 2, -1], [0, 0, 0]) == 4 / 8
    assert statistics.paired_test(A, A) == 1
    assert np.isnan(statistics.paired_test([1.0], [0.0]))


def test_paired_test_of_many_seeds_is_close_to_scipy_and_never_zero() -> None:
    x = RNG.normal(0.15, 1, 30)
    other = scipy.stats.permutation_test(
        (x, np.zeros(30)), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", rng=1
    )
    assert statistics.paired_test(x, np.zeros(30)) == pytest.approx(other.pvalue, abs=0.02)
    assert statistics.paired_test(np.arange(1, 31), np.zeros(30)) == pytest.approx(1 / 10_001)


def test_holm() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1 gives .02 .03 .06 .04, kept increasing.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    corrected = statistics.holm([0.01, np.nan, 0.02])
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(corrected[1])
    assert statistics.holm([]).tolist() == []


def test_seed_warnings() -> None:
    assert "no interval" in statistics.seed_warnings([0])[0]
    few, test = statistics.seed_warnings([0, 1, 2])
    assert few.startswith("3 seeds: intervals")
    assert test.endswith("below 0.25.")  # 2 of the 8 sign patterns
    assert statistics.seed_warnings(range(5)) == [
        "5 seeds: the paired test cannot give a p value below 0.0625."
    ]
    assert statistics.seed_warnings(range(6)) == []
