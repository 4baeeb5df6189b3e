"""Steps of training and of environments: where stages begin, and when a task was first done well enough.

``steps [K]`` are those at each of the K evaluations of a curve since training began, ``stage [K]`` is as in
:mod:`perdure.analysis.metrics.curves`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perdure.analysis.metrics.curves import Stages, evaluations
from perdure.analysis.metrics.matrix import Array, mean

Steps = npt.NDArray[np.int64] | npt.NDArray[np.float64]


def stage_ends(steps: Steps, stage: Stages) -> Array:
    """Steps at which each stage begins and, behind them, at which the last one ends: ``[stages + 1]``.

    A stage ends with its last evaluation, and takes no steps where it has none.

    >>> stage_ends(np.array([5, 10, 30]), np.array([0, 0, 1])).tolist()
    [0.0, 10.0, 30.0]
    """
    ends = np.zeros(int(stage.max(initial=0)) + 2)
    np.maximum.at(ends, stage + 1, steps)
    return np.asarray(np.maximum.accumulate(ends))


def environment_steps(steps: Steps, stage: Stages, per_step: Array) -> Array:
    """Steps of the environment at each evaluation, ``[K]``.

    ``per_step [stage]``: how many of them a training step of each stage stands for.

    >>> environment_steps(np.array([5, 10, 30]), np.array([0, 0, 1]), np.array([2.0, 3.0])).tolist()
    [10.0, 20.0, 80.0]
    """
    ends = stage_ends(steps, stage)
    lengths = np.diff(ends) * per_step[: len(ends) - 1]
    begin = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.asarray(begin[stage] + (steps - ends[stage]) * per_step[stage])


def time_to_threshold(scores: Array, stage: Stages, steps: Steps, threshold: Array) -> Array:
    """Steps of a task's own stage until its score first reaches ``threshold [task]``: ``[..., task]``.

    NaN where no evaluation of the stage does (the time is censored at the end of the stage). Times are those
    of evaluations, so that they are too long by less than the distance of two.
    """
    begin = stage_ends(steps, stage)
    found = []
    for task, where in enumerate(evaluations(stage, scores.shape[-1])):
        there = scores[..., where, task] >= threshold[task]
        first = steps[where][there.argmax(axis=-1)] - begin[task]
        found.append(np.where(there.any(axis=-1), first, np.nan))
    return np.stack(found, axis=-1)


def restricted_time(scores: Array, stage: Stages, steps: Steps, threshold: Array) -> Array:
    """:func:`time_to_threshold`, cut off at the steps of the stage where it is not reached: ``[..., task]``.

    Its mean is the restricted mean of survival analysis: all replicas count, and where some never reach the
    threshold, the mean without the cut would be larger.
    """
    times = time_to_threshold(scores, stage, steps, threshold)
    return np.where(np.isnan(times), np.diff(stage_ends(steps, stage)), times)


def steps_to_threshold(scores: Array, stage: Stages, steps: Steps, threshold: Array) -> Array:
    """``mean_j min(steps of task j's own stage until its score reaches the threshold, steps of the stage)``.

    Sample efficiency: fewer are better. ``threshold [task]`` is in units of the scores, of which higher ones
    are better. A lower bound where :func:`censored` says so.
    """
    return mean(restricted_time(scores, stage, steps, threshold))


def censored(scores: Array, stage: Stages, steps: Steps, threshold: Array) -> Array:
    """Whether some task never reached its threshold in its own stage, 1 or 0: ``[...]``."""
    never = np.isnan(time_to_threshold(scores, stage, steps, threshold))
    return np.asarray(never.any(axis=-1), dtype=np.float64)
