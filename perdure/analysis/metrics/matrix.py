"""Metrics of the score tensor: pure functions of arrays.

Throughout, ``R[..., i, j]`` is the score on task ``j`` after training on task ``i`` (rows are stages,
columns are tasks, both counted from 1 in formulas), ``T`` the number of tasks and ``b_j`` the score of the
untrained model. Leading axes (replicas) are kept: every function returns one number per replica.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perdure.analysis.record import Array as Array
from perdure.core.errors import PerdureError


class Undefined(PerdureError):
    """The metric has no meaning for these scores, whatever else had been measured: tables leave it out."""


def staged(scores: Array, tasks: int = 1) -> Array:
    """Return ``scores`` if it holds one stage per task and at least ``tasks`` tasks; refuse it otherwise."""
    if scores.ndim < 2 or scores.shape[-2] != scores.shape[-1]:
        raise Undefined(f"expected scores with one stage per task; found the shape {scores.shape}")
    if scores.shape[-1] < tasks:
        raise Undefined(f"expected at least {tasks} tasks; found {scores.shape[-1]}")
    return scores


def mean(values: npt.ArrayLike, axis: int = -1) -> Array:
    """Mean along one axis, as an array also where a single number is left."""
    # Row-major, so that a replica's numbers are summed in the same order however many are beside it.
    return np.asarray(np.asarray(values, dtype=np.float64, order="C").mean(axis=axis))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide elementwise; NaN, without a warning, where the denominator is zero."""
    zero = denominator == 0
    return np.where(zero, np.nan, numerator / np.where(zero, 1.0, denominator))


def diagonal(scores: Array) -> Array:
    """Score on each task right after learning it, ``R[j, j]``: ``[..., task]``."""
    return np.diagonal(staged(scores), axis1=-2, axis2=-1)


def average_accuracy(scores: Array) -> Array:
    """ACC, ``mean_j R[T, j]``: mean over all tasks after the last stage (Lopez-Paz and Ranzato 2017).

    Takes any number of stages, so that joint and single-task learners (one stage) have it too.
    """
    return mean(scores[..., -1, :])


def average_performance(scores: Array) -> Array:
    """``mean_j r[T, j]``, with ``r`` the scores in [0, 1]: 0 the worst, 1 the best (Continual World 2021).

    Takes any number of stages. The paper's success rates are such scores; returns are brought there by what
    the stream says of its tasks (:mod:`perdure.analysis.metrics.worlds`).
    """
    return average_accuracy(scores)


def average_over_seen(scores: Array, sizes: Sequence[float] | None = None) -> Array:
    """Mean over the tasks seen so far, after every stage: ``[..., stage]``.

    ``sizes`` (one per task) weighs the tasks by their number of test samples.
    """
    tasks = staged(scores).shape[-1]
    weights = np.tril(np.broadcast_to(np.ones(tasks) if sizes is None else np.asarray(sizes), (tasks, tasks)))
    return np.asarray(np.sum(scores * weights, axis=-1) / weights.sum(axis=-1))


def average_incremental_accuracy(scores: Array) -> Array:
    """``mean_t mean_{j<=t} R[t, j]``: every task weighs the same (Rebuffi 2017)."""
    return mean(average_over_seen(scores))


def pooled_incremental_accuracy(scores: Array, sizes: Sequence[float]) -> Array:
    """``mean_t sum_{j<=t} n_j R[t, j] / sum_{j<=t} n_j``: every test sample weighs the same.

    ``sizes`` holds the ``n_j`` (Rebuffi 2017, whose tasks are of one size).
    """
    return mean(average_over_seen(scores, sizes))


def backward_transfer(scores: Array) -> Array:
    """BWT, ``mean_{j<T} (R[T, j] - R[j, j])`` (Lopez-Paz and Ranzato 2017)."""
    return mean((staged(scores, 2)[..., -1, :] - diagonal(scores))[..., :-1])


def forward_transfer(scores: Array, untrained: Array) -> Array:
    """FWT, ``mean_{j>=2} (R[j-1, j] - b_j)`` (Lopez-Paz and Ranzato 2017).

    ``untrained`` holds ``b``: the scores before any training, ``[..., task]``.
    """
    before = np.diagonal(staged(scores, 2), offset=1, axis1=-2, axis2=-1)
    return mean(before - untrained[..., 1:])


def forgetting(scores: Array) -> Array:
    """Forgetting, ``mean_{j<T} (max_{l<T} R[l, j] - R[T, j])``; may be negative (Chaudhry 2018).

    The maximum runs over all stages before the last, as the paper's ``l in {1, ..., T-1}`` says: also over
    those before the task was learned, where a score above the later ones counts as knowledge that was lost.
    """
    best = staged(scores, 2)[..., :-1, :-1].max(axis=-2)
    return mean(best - scores[..., -1, :-1])


def forgetting_so_far(scores: Array) -> Array:
    """Forgetting after each stage k from the second on, ``[..., stage]``; the last is :func:`forgetting`.

    ``mean_{j<k} (max_{l<k} R[l, j] - R[k, j])``.
    """
    best = np.maximum.accumulate(staged(scores, 2), axis=-2)[..., :-1, :]
    seen = np.tri(scores.shape[-1] - 1, scores.shape[-1], dtype=bool)
    lost = np.where(seen, best - scores[..., 1:, :], 0.0)
    return np.asarray(lost.sum(axis=-1) / seen.sum(axis=-1))


def intransigence(scores: Array, reference: Array) -> Array:
    """``mean_j (a*_j - R[j, j])``; ``reference`` holds ``a*``, ``[..., task]`` (Chaudhry 2018)."""
    return mean(reference - diagonal(scores))


def learning_accuracy(scores: Array) -> Array:
    """``mean_j R[j, j]``: what was learned when it was there to be learned (Riemer 2019)."""
    return mean(diagonal(scores))


def plasticity(scores: Array) -> Array:
    """Score on each new task right after learning it, ``[..., task]``: a fall along it is lost plasticity.

    Source: Dohare 2024. Its mean over the tasks is :func:`learning_accuracy`.
    """
    return diagonal(scores)


def multi_task_gain(scores: Array, single: Array, lower_is_better: bool = False) -> Array:
    """Delta m, ``(100/T) sum_t (-1)^l (M_t - S_t) / |S_t|`` in percent (Maninis 2019).

    ``M`` are the scores after the last stage, ``single`` holds ``S``, ``[..., task]``. The absolute value
    (not in the paper, whose scores are positive) keeps the sign right for scores such as a negative error.
    NaN where a single-task score is zero.
    """
    gain = 100 * mean(ratio(scores[..., -1, :] - single, np.abs(single)))
    return -gain if lower_is_better else gain


def multi_task_gain_parts(scores: Array, single: Array) -> tuple[Array, Array]:
    """Numerators and denominators of :func:`multi_task_gain`, ``[..., task]``."""
    difference, base = against_single(scores, single)
    return 100 * difference, base


def against_single(scores: Array, single: Array) -> tuple[Array, Array]:
    """Differences ``M_t - S_t``, and what a gain divides them by, ``|S_t|``: ``[..., task]`` each.

    The divisor is NaN where a single-task score is zero.
    """
    return scores[..., -1, :] - single, np.where(single == 0, np.nan, np.abs(single))


def safeness(scores: Array, single: Array) -> Array:
    """``min_t (M_t - S_t)``: what sharing costs the task that it serves worst (DSMTL)."""
    return np.asarray(np.min(scores[..., -1, :] - single, axis=-1))


def gap_closed(scores: Array, naive: Array, joint: Array) -> Array:
    """``(x - sequential) / (joint - sequential)`` of the average accuracies; NaN where the two coincide.

    ``naive`` and ``joint`` hold the baselines' scores after training, ``[..., task]``.
    """
    return mean(ratio(*gap_closed_parts(scores, naive, joint)))


def gap_closed_parts(scores: Array, naive: Array, joint: Array) -> tuple[Array, Array]:
    """Numerator and denominator of :func:`gap_closed`, ``[..., 1]``."""
    low, high = mean(naive), mean(joint)
    return (average_accuracy(scores) - low)[..., None], (high - low)[..., None]


def isolated_forgetting(scores: Array) -> Array:
    """Mean over ``j < i`` of ``(R[i-1, j] - R[i, j]) / max_l |R[l, j]|`` (CORA 2022).

    The loss of each task already trained, stage by stage. CORA scales by the largest return of all runs;
    here each replica is scaled by its own, so that it does not depend on the replicas beside it.
    """
    losses = isolated_forgetting_matrix(scores)
    return mean(losses[..., *np.tril_indices(scores.shape[-1], k=-1)])


def isolated_forgetting_matrix(scores: Array) -> Array:
    """What each stage i took from each task j < i, whose mean is :func:`isolated_forgetting`.

    ``[..., stage, task]``, NaN elsewhere: a row tells what learning a task costs the earlier ones.
    """
    losses = -np.diff(staged(scores, 2), axis=-2, prepend=np.nan) / _scale(scores)
    return np.where(np.tri(scores.shape[-1], k=-1, dtype=bool), losses, np.nan)


def zero_shot_transfer(scores: Array, untrained: Array) -> Array:
    """Mean over ``j > i`` of ``(R[i, j] - R[i-1, j]) / max_l |R[l, j]|``, ``R[0, j] = b_j`` (CORA 2022).

    What each stage does to the tasks not yet trained; scaled as in :func:`isolated_forgetting`.
    """
    gains = zero_shot_transfer_matrix(scores, untrained)
    return mean(gains[..., *np.triu_indices(scores.shape[-1], k=1)])


def zero_shot_transfer_matrix(scores: Array, untrained: Array) -> Array:
    """What each stage i gave each task j > i, whose mean is :func:`zero_shot_transfer`.

    ``[..., stage, task]``, NaN elsewhere: a row tells what learning a task is worth to the later ones.
    """
    rows = np.concatenate([untrained[..., None, :], staged(scores, 2)], axis=-2)
    gains = np.diff(rows, axis=-2) / _scale(rows)
    return np.where(np.tri(scores.shape[-1], dtype=bool), np.nan, gains)


def _scale(scores: Array) -> Array:
    """Largest absolute score of each task; 1 for a task that never left zero, whose changes are zero."""
    top = np.abs(scores).max(axis=-2, keepdims=True)
    return np.where(top == 0, 1.0, top)


def model_size_efficiency(parameters: Array) -> Array:
    """``min(1, mean_i theta_1 / theta_i)``, ``theta_i`` parameters after stage i (Diaz-Rodriguez 2018)."""
    return np.minimum(1.0, mean(parameters[..., :1] / parameters))


def compute_efficiency(one_pass: Array, training: Array, epsilon: float = 1.0) -> Array:
    """``min(1, mean_i epsilon Ops(one pass over Tr_i) / Ops(training on Tr_i))`` (Diaz-Rodriguez 2018).

    ``one_pass`` are the operations of one forward and backward pass over each task's training data and
    ``training`` those that learning it took, both ``[..., task]``.
    """
    return np.minimum(1.0, mean(epsilon * one_pass / training))
