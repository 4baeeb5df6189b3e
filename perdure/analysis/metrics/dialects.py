"""What other libraries compute under the names of the metrics, so that numbers can be compared with theirs.

Each follows the library's code, including what looks like a slip. T is the number of tasks, and ``R`` is as
in :mod:`perdure.analysis.metrics.matrix`, whose functions are the papers' definitions: "as the paper" below.
A metric that is not listed for a library is refused in its dialect: the library has none of that name, or its
number is not a function of ``R``. Percentages and rounded numbers are followed as fractions, unrounded.

========================================  ==============================================================
dialect and metric                        what the library's code computes
========================================  ==============================================================
avalanche ``average_accuracy``            pooled over test samples, ``sum_j n_j R[T,j] / sum_j n_j``
avalanche ``forgetting``                  first score minus last, ``mean_{j<T} (R[j,j] - R[T,j])``
avalanche ``backward_transfer``           as the paper
avalanche ``forward_transfer``            as the paper
mammoth ``average_accuracy``              as the paper
mammoth ``forgetting``                    the maximum includes the last row
mammoth ``backward_transfer``             as the paper
mammoth ``forward_transfer``              as the paper
pilot ``average_incremental_accuracy``    pooled over test samples
pilot ``forgetting``                      the maximum includes the last row
capymoa ``average_accuracy``              as the paper
capymoa ``average_incremental_accuracy``  as the paper
capymoa ``anytime_average_accuracy``      as the paper
capymoa ``backward_transfer``             all pairs, ``2 / (T (T-1)) sum_{j<i} (R[i,j] - R[j,j])``
capymoa ``forward_transfer``              all pairs and no baseline, ``2 / (T (T-1)) sum_{i<j} R[i,j]``
continuum ``forgetting``                  one task and one row short
continuum ``backward_transfer``           all pairs but neighbours, over the number of all pairs
continuum ``forward_transfer``            past tasks and no baseline, ``2 / (T (T-1)) sum_{j<i} R[i,j]``
continuum ``model_size_efficiency``       as the paper
libcontinual ``average_accuracy``         as the paper (its "[Task] Last Average Acc")
libcontinual                              as the paper (its "[Task] Overall Avg Acc")
``average_incremental_accuracy``
libcontinual ``forgetting``               one task short, no maximum
libcontinual ``backward_transfer``        all pairs but neighbours, over the number of all pairs
========================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perdure.analysis.metrics.matrix import Array, backward_transfer, diagonal, mean, staged


def average_accuracy_avalanche(scores: Array, sizes: Sequence[float]) -> Array:
    """Avalanche's stream accuracy: every test sample weighs the same, ``sum_j n_j R[T, j] / sum_j n_j``."""
    weights = np.asarray(sizes, dtype=np.float64)
    return np.asarray(np.sum(scores[..., -1, :] * weights, axis=-1) / weights.sum())


def forgetting_avalanche(scores: Array) -> Array:
    """Avalanche: first score minus last, ``mean_{j<T} (R[j, j] - R[T, j])``, which is minus BWT."""
    return -backward_transfer(scores)


def forgetting_mammoth(scores: Array) -> Array:
    """Mammoth and PILOT: the maximum includes the last row, ``mean_{j<T} (max_l R[l, j] - R[T, j])``.

    So it is never negative. They score only tasks already seen: earlier rows count as 0.
    """
    tasks = staged(scores, 2).shape[-1]
    seen = np.tril(np.ones((tasks, tasks), dtype=bool))
    best = np.where(seen, scores, 0.0).max(axis=-2)
    return mean((best - scores[..., -1, :])[..., :-1])


def forgetting_continuum(scores: Array) -> Array:
    """Continuum: one task and one row short, ``sum_{j<T-1} (max_{j<=l<T-1} R[l, j] - R[T, j]) / (T-1)``."""
    tasks = staged(scores, 2).shape[-1]
    if tasks == 2:
        return np.zeros(scores.shape[:-2])
    early = scores[..., : tasks - 2, : tasks - 2]
    seen = np.tril(np.ones((tasks - 2, tasks - 2), dtype=bool))
    best = np.where(seen, early, -np.inf).max(axis=-2)
    return np.asarray(np.sum(best - scores[..., -1, : tasks - 2], axis=-1) / (tasks - 1))


def forgetting_libcontinual(scores: Array) -> Array:
    """LibContinual: one task short, no maximum, ``sum_{j<T-1} (R[j, j] - R[T, j]) / (T-1)``."""
    tasks = staged(scores, 2).shape[-1]
    lost = diagonal(scores) - scores[..., -1, :]
    return np.asarray(lost[..., : tasks - 2].sum(axis=-1) / (tasks - 1))


def backward_transfer_capymoa(scores: Array) -> Array:
    """CapyMOA: after every stage, ``2 / (T (T-1)) sum_{j<i} (R[i, j] - R[j, j])``."""
    return _change_since_learned(scores, nearest=1)


def backward_transfer_continuum(scores: Array) -> Array:
    """Continuum and LibContinual: ``2 / (T (T-1)) sum_{j<i-1} (R[i, j] - R[j, j])``.

    The task before the current one is left out of the sum, but not of the number that divides it.
    """
    return _change_since_learned(scores, nearest=2)


def _change_since_learned(scores: Array, nearest: int) -> Array:
    """Sum of ``R[i, j] - R[j, j]`` over tasks ``j <= i - nearest``, divided by the number of pairs."""
    tasks = staged(scores, 2).shape[-1]
    change = np.tril(scores - diagonal(scores)[..., None, :], k=-nearest)
    return np.asarray(change.sum(axis=(-2, -1)) / (tasks * (tasks - 1) / 2))


def forward_transfer_capymoa(scores: Array) -> Array:
    """CapyMOA: all pairs and no baseline, ``2 / (T (T-1)) sum_{i<j} R[i, j]``."""
    stages, tasks = np.triu_indices(staged(scores, 2).shape[-1], k=1)
    return mean(scores[..., stages, tasks])


def forward_transfer_continuum(scores: Array) -> Array:
    """Continuum: scores on past tasks and no baseline, ``2 / (T (T-1)) sum_{i>j} R[i, j]``."""
    stages, tasks = np.tril_indices(staged(scores, 2).shape[-1], k=-1)
    return mean(scores[..., stages, tasks])
