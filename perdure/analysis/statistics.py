"""Honest statistics over seeds: intervals, paired tests and their corrections, with a passed generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perdure.analysis.metrics.matrix import Array, ratio
from perdure.core.errors import PerdureError

FEW_SEEDS = 5
EXACT_UP_TO = 12


def bootstrap_band(
    values: npt.ArrayLike,
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> tuple[Array, Array]:
    """Percentile bootstrap interval of the mean over the first axis (Efron 1979).

    Parameters
    ----------
    values:
        ``[n, ...]``, one row per seed. Rows are resampled whole, so columns stay paired.
    confidence:
        Coverage aimed at, in (0, 1).
    samples:
        Number of resamples.
    seed:
        A seed or a generator; the same seed gives the same interval.

    Returns
    -------
    ``low`` and ``high``, ``[...]``: NaN with one row (nothing can be said), the point where all rows agree.
    """
    rows = np.asarray(values, dtype=np.float64)
    if not 0 < confidence < 1:
        raise PerdureError(f"expected a confidence between 0 and 1; found {confidence}")
    if rows.ndim == 0 or not len(rows):
        raise PerdureError(f"expected one value per seed; found the shape {rows.shape}")
    if len(rows) == 1:
        return np.full(rows.shape[1:], np.nan), np.full(rows.shape[1:], np.nan)
    means = _resampled_means(rows, samples, seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    same = np.all(rows == rows[0], axis=0)
    return np.where(same, rows[0], low), np.where(same, rows[0], high)


def _resampled_means(rows: Array, samples: int, seed: int | np.random.Generator) -> Array:
    """Means over resamples of the rows, ``[samples, ...]``."""
    flat = rows.reshape(len(rows), -1)
    flat = flat[np.lexsort(flat.T[::-1])]  # the order of the seeds must not matter
    # How often each row is drawn is all that a mean depends on, so a resample is a row of counts.
    counts = (_fixed_counts if isinstance(seed, int) else _counts)(len(rows), samples, seed)
    return np.asarray((counts @ flat / len(rows)).reshape(samples, *rows.shape[1:]))


def ratio_of_means(numerator: Array, denominator: Array) -> float:
    """``mean_k (mean_n a[n, k] / mean_n b[n, k])`` over seeds n and tasks k; NaN where a mean of b is zero.

    Unlike the mean of the seeds' own ratios it has no seed that counts for all others because its
    denominator is near zero.
    """
    return float(ratio(numerator.mean(axis=0), denominator.mean(axis=0)).mean())


def bootstrap_ratio(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of :func:`ratio_of_means`.

    ``numerator`` and ``denominator`` are ``[n, tasks]``, one row per seed, resampled together: as in
    :func:`bootstrap_band`, which see for the rest.
    """
    both = np.stack([np.asarray(numerator), np.asarray(denominator)], axis=1).astype(np.float64)
    if len(both) == 1:
        return float("nan"), float("nan")
    if np.all(both == both[0]):
        point = ratio_of_means(both[:, 0], both[:, 1])
        return point, point
    top, bottom = _resampled_means(both, samples, seed).swapaxes(0, 1)
    low, high = np.nanquantile(ratio(top, bottom).mean(axis=-1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


class Gap(NamedTuple):
    """Mean difference of paired values, and its interval."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the difference is clearly above 0: its interval is. One pair has none: the sign decides."""
        return self.low > 0 or (np.isnan(self.low) and self.mean > 0)

    def __str__(self) -> str:
        """Return "mean [low, high]"."""
        return (
            f"{self.mean:.3f}" if np.isnan(self.low) else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"
        )


def paired_gap(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Gap:
    """Mean of ``first - second`` over the seeds where both are known, with its bootstrap interval."""
    gap = np.ravel(first) - np.ravel(second)
    gap = gap[~np.isnan(gap)]
    if not len(gap):
        return Gap(float("nan"), float("nan"), float("nan"))
    return Gap(float(gap.mean()), *bootstrap_interval(gap, confidence))


def _counts(rows: int, samples: int, seed: int | np.random.Generator) -> Array:
    """How often each of ``rows`` rows is drawn, ``[sample, row]``."""
    drawn = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), samples)
    return drawn.astype(np.float64)


# A table of many metrics and strategies draws the same counts hundreds of times.
_fixed_counts = lru_cache(maxsize=4)(_counts)


def bootstrap_interval(
    values: npt.ArrayLike,
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of one value per seed; see :func:`bootstrap_band`.

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    (0.5, 0.5)
    """
    low, high = bootstrap_band(np.ravel(values), confidence, samples, seed)
    return float(low), float(high)


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half of all values: a quarter is cut at either end (Agarwal 2021)."""
    ordered = np.sort(np.ravel(np.asarray(values, dtype=np.float64)))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def probability_of_improvement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """``P(X > Y) + P(X = Y) / 2`` over all pairs of runs: the Mann-Whitney statistic (Agarwal 2021)."""
    gap = np.ravel(first)[:, None] - np.ravel(second)[None, :]
    return float(np.mean((gap > 0) + 0.5 * (gap == 0)))


def performance_profile(values: npt.ArrayLike, thresholds: npt.ArrayLike) -> Array:
    """Share of all runs that score above each threshold, ``[threshold]`` (Agarwal 2021)."""
    flat = np.ravel(np.asarray(values, dtype=np.float64))
    return np.asarray(np.mean(flat[None, :] > np.ravel(thresholds)[:, None], axis=1))


def paired_test(
    first: npt.ArrayLike, second: npt.ArrayLike, samples: int = 10_000, seed: int | np.random.Generator = 0
) -> float:
    """Two-sided p value of the sign-flip test of a zero mean difference between paired values.

    Under the null hypothesis each seed's difference is as likely with either sign. With at most 12 seeds all
    sign patterns are enumerated (exact); with more, ``samples`` random ones are drawn and the observed one is
    added to them (Phipson and Smyth 2010), so that p is never zero. NaN with fewer than two pairs.
    """
    gap = np.ravel(first) - np.ravel(second)
    n = len(gap)
    if n < 2:
        return float("nan")
    observed = abs(gap.mean())
    edge = observed - 1e-12 * np.abs(gap).max()  # sums in another order differ by rounding
    if n <= EXACT_UP_TO:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ gap) / n >= edge))
    signs = _fixed_signs(n, samples, seed) if isinstance(seed, int) else _signs(n, samples, seed)
    return float((np.sum(np.abs(signs @ gap) / n >= edge) + 1) / (samples + 1))


def _signs(pairs: int, samples: int, seed: int | np.random.Generator) -> Array:
    """Random signs of ``pairs`` differences, ``[sample, pair]``."""
    return np.asarray(1.0 - 2 * np.random.default_rng(seed).integers(0, 2, (samples, pairs)), np.float64)


_fixed_signs = lru_cache(maxsize=4)(_signs)


def holm(p_values: npt.ArrayLike) -> Array:
    """Holm's step-down correction of p values for having looked at all of them (Holm 1979).

    The k-th smallest of m is multiplied by ``m - k + 1``, cut at 1 and kept increasing; NaN stays NaN
    and does not count.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.ravel(np.asarray(p_values, dtype=np.float64))
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    scaled = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected


def smallest_p(seeds: int, samples: int = 10_000) -> float:
    """Smallest p value that :func:`paired_test` can give with so many seeds."""
    return 2.0 ** (1 - seeds) if seeds <= EXACT_UP_TO else 1 / (samples + 1)


def holm_note(pairs: int, seeds: int) -> str | None:
    """Say that no difference can be significant, where Holm's correction over so many pairs makes it so.

    The correction multiplies the smallest p by the number of pairs.
    """
    smallest = smallest_p(seeds)
    if seeds < 2 or pairs < 2 or smallest * pairs <= 0.05:
        return None
    enough = next((n for n in range(seeds, EXACT_UP_TO + 1) if smallest_p(n) * pairs <= 0.05), None)
    way_out = "compare fewer pairs" if enough is None else f"use at least {enough}, or compare fewer pairs"
    return (
        f"{seeds} seeds and {pairs} pairs: no difference can be significant after Holm's correction (the "
        f"smallest p is {smallest:.3g}, times {pairs}): {way_out}."
    )


def seed_warnings(seeds: Sequence[int]) -> list[str]:
    """Say what this number of seeds cannot show; nothing from 6 seeds on."""
    n = len(seeds)
    if n == 1:
        return ["1 seed: no interval and no test can be given; use at least 5, better 10."]
    texts = []
    if n < FEW_SEEDS:
        texts.append(
            f"{n} seeds: intervals over fewer than 5 seeds are too narrow; use at least 5, better 10."
        )
    if 2 ** (1 - n) > 0.05:
        texts.append(f"{n} seeds: the paired test cannot give a p value below {2.0 ** (1 - n):g}.")
    return texts
