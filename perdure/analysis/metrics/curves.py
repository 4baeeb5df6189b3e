"""Metrics of evaluation curves: scores measured every few steps, not only after each stage.

A curve is ``scores [..., K, task]`` with ``stage [K]``, the stage (from 0) whose training each of the K
evaluations falls in. Tasks up to and including that stage are the ones seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perdure.analysis.metrics.matrix import Array, Undefined, mean, ratio
from perdure.core.errors import PerdureError

Stages = npt.NDArray[np.int64]
# Evaluations that stand for the end of a stage.
LAST = 5


def evaluations(stage: Stages, tasks: int) -> list[npt.NDArray[np.intp]]:
    """Indices of the evaluations of each stage; refuse a curve that skips one."""
    found = [np.flatnonzero(stage == index) for index in range(tasks)]
    for index, where in enumerate(found):
        if not len(where):
            raise PerdureError(
                f"expected an evaluation in each of the {tasks} stages; found none in stage {index + 1}: "
                "use a smaller eval_every"
            )
    return found


def anytime_average_accuracy(scores: Array, stage: Stages) -> Array:
    """AAA: mean over the evaluations of the mean over the tasks seen by then (Caccia 2022)."""
    seen = np.arange(scores.shape[-1]) <= stage[:, None]
    return mean(np.sum(scores * seen, axis=-1) / seen.sum(axis=-1))


def min_accuracy(scores: Array, stage: Stages) -> Array:
    """min-ACC: mean over all tasks but the last of the lowest score since learned (De Lange 2023).

    "Since learned" are the evaluations in later stages than the task's own.
    """
    tasks = scores.shape[-1]
    if tasks < 2:
        raise Undefined(f"expected at least 2 tasks; found {tasks}")
    evaluations(stage, tasks)
    lowest = [scores[..., stage > task, task].min(axis=-1) for task in range(tasks - 1)]
    return mean(lowest, axis=0)


def worst_case_accuracy(scores: Array, stage: Stages) -> Array:
    """WC-ACC, ``(1/k) A(current) + (1 - 1/k) min-ACC`` at the last evaluation, k tasks (De Lange 2023)."""
    tasks = scores.shape[-1]
    return np.asarray(scores[..., -1, -1] / tasks + (1 - 1 / tasks) * min_accuracy(scores, stage))


def windowed_forgetting(scores: Array, stage: Stages, window: int = 10) -> Array:
    """WF^n: largest drop inside any window of n evaluations, mean over tasks (De Lange 2023).

    A drop goes from an earlier to a later evaluation. A task's evaluations count from the stage that
    trains it on; a task that never drops has 0, as in the authors' code.
    """
    return _windowed(-scores, stage, window)


def windowed_plasticity(scores: Array, stage: Stages, window: int = 10) -> Array:
    """WP^n: largest rise inside any window of n evaluations, mean over tasks (De Lange 2023)."""
    return _windowed(scores, stage, window)


def _windowed(scores: Array, stage: Stages, window: int) -> Array:
    if window < 2:
        raise PerdureError(f"expected a window of at least 2 evaluations; found {window}")
    largest = np.zeros((*scores.shape[:-2], scores.shape[-1]))
    for task in range(scores.shape[-1]):
        curve = scores[..., stage >= task, task]
        for lag in range(1, min(window, curve.shape[-1])):
            rise = curve[..., lag:] - curve[..., :-lag]
            largest[..., task] = np.maximum(largest[..., task], rise.max(axis=-1))
    return mean(largest)


def area_under_curve(scores: Array, stage: Stages) -> Array:
    """Mean score on each task over its own stage, ``[..., task]``."""
    own = evaluations(stage, scores.shape[-1])
    return np.stack([scores[..., where, task].mean(axis=-1) for task, where in enumerate(own)], axis=-1)


def rl_forward_transfer(scores: Array, stage: Stages, single: Array, single_stage: Stages) -> Array:
    """``mean_j (AUC_j - AUC^b_j) / (1 - AUC^b_j)`` for scores in [0, 1] (Continual World 2021).

    ``AUC_j`` is the mean score on task j over its own stage, ``AUC^b_j`` that of a model that learns task j
    alone, ``single [..., K', task]``, over the evaluations at which ``single_stage [K']`` is j. NaN where the
    single-task run is perfect throughout.
    """
    return mean(ratio(*rl_forward_transfer_parts(scores, stage, single, single_stage)))


def rl_forward_transfer_parts(
    scores: Array, stage: Stages, single: Array, single_stage: Stages
) -> tuple[Array, Array]:
    """Numerators and denominators of :func:`rl_forward_transfer`, ``[..., task]``."""
    base = area_under_curve(single, single_stage)
    return area_under_curve(scores, stage) - base, 1 - base


def rl_forgetting(scores: Array, stage: Stages, last: int = LAST) -> Array:
    """Mean over all tasks of the score at the end of the task's stage minus that at the very end.

    Both are means of the ``last`` evaluations of the stage, scores in [0, 1] (Continual World 2021, whose
    code means over five at the very end too). A stage with fewer evaluations gives the mean of all it has, in
    which early ones of learning count: evaluate more often. The last task's share is 0 by definition and
    enters the mean, as in the paper.
    """
    ends = [where[-last:] for where in evaluations(stage, scores.shape[-1])]
    lost = [
        scores[..., where, task].mean(axis=-1) - scores[..., ends[-1], task].mean(axis=-1)
        for task, where in enumerate(ends)
    ]
    return mean(lost, axis=0)
