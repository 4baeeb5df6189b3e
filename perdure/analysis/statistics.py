"""Honest statistics over seeds: intervals, paired tests and their corrections, with a passed generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from perdure.errors import PerdureError

Array = npt.NDArray[np.float64]
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
    flat = rows.reshape(len(rows), -1)
    flat = flat[np.lexsort(flat.T[::-1])]  # the order of the seeds must not matter
    # How often each row is drawn is all that a mean depends on, so a resample is a row of counts.
    counts = (
        _fixed_counts(len(rows), samples, seed)
        if isinstance(seed, int)
        else _counts(len(rows), samples, seed)
    )
    means = (counts @ flat / len(rows)).reshape(samples, *rows.shape[1:])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    same = np.all(rows == rows[0], axis=0)
    return np.where(same, rows[0], low), np.where(same, rows[0], high)


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
