"""What a stream of worlds says of its tasks: best scores, thresholds, steps of the environment.

All of it is in the stream's ``info``, which results keep as ``config["info"]``: a number for all tasks, or a
list with one for each name under its ``tasks`` (else, for each task).

======================== =================================================================================
``best``                 the score that counts as 1, such as 500 for CartPole
``worst``                the score that counts as 0; 0 where it is not said
``threshold``            the score from which on a task is learned; by default 95 % of the way to the best
``world_steps_per_step`` steps of the environment that a training step stands for
======================== =================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.steps import environment_steps
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from perdure.analysis.record import Curve, Record

# Scores that lie in [0, 1] by definition.
SHARES = ("accuracy", "balanced accuracy", "F1", "AUROC", "success")
SOLVED = 0.95
TRAINING, ENVIRONMENT = "training steps", "environment steps"
# Rounding may carry a score this far beyond the best one.
NEAR = 1e-6


def told(results: Record, key: str) -> Array | None:
    """What the stream says of each task under ``key``, ``[task]``; None where it says nothing."""
    info = results.config.get("info", {})
    if key not in info:
        return None
    value, names, tasks = info[key], info.get("tasks", []), results.tasks
    if isinstance(value, list) and len(value) == len(names) and set(tasks) <= set(names):
        value = [value[names.index(name)] for name in tasks]  # those left of a stream that was cut
    if isinstance(value, list) and len(value) != len(tasks):
        raise PerdureError(
            f"expected config['info'][{key!r}] to be a number, or one for each of the {len(tasks)} tasks; "
            f"found {len(value)}"
        )
    return np.broadcast_to(np.asarray(value, dtype=np.float64), len(tasks))


def limits(results: Record, signs: Array) -> tuple[Array, Array]:
    """Scores that count as 0 and as 1, ``[task]`` each; refused where the best one is not known.

    ``signs [task]`` is 1 where higher scores are better, else -1.
    """
    tasks, best, worst = len(results.tasks), told(results, "best"), told(results, "worst")
    worst = np.zeros(tasks) if worst is None else worst
    if best is None:
        if is_share(results, signs):
            return np.zeros(tasks), np.ones(tasks)
        raise PerdureError(
            "expected the best score of each task, by which scores are brought to [0, 1]; found none: let "
            "the stream say it in info['best'] (results.config['info']['best'])"
        )
    for task in np.flatnonzero((best - worst) * signs <= 0):
        raise PerdureError(
            f"expected the best score of {results.tasks[task]!r} to be better than the worst one, 0 unless "
            f"info['worst'] says otherwise; found {best[task]:g} and {worst[task]:g}"
        )
    return worst, best


def is_share(results: Record, signs: Array) -> bool:
    """Whether scores lie in [0, 1] by definition, 1 being the best."""
    return results.config.get("metric") in SHARES and bool((signs > 0).all())


def normalised(results: Record, scores: Array, signs: Array) -> Array:
    """``(score - worst) / (best - worst)`` of scores ``[..., task]``; one beyond the best is refused."""
    worst, best = limits(results, signs)
    found = (scores - worst) / (best - worst)
    for task in np.flatnonzero((found > 1 + NEAR).reshape(-1, len(best)).any(axis=0)):
        far = (scores[..., task] * signs[task]).reshape(-1)
        raise PerdureError(
            f"expected no score beyond the best one of {results.tasks[task]!r}, {best[task]:g}; found "
            f"{np.nanmax(far) * signs[task]:g}"
        )
    return np.asarray(found)


def thresholds(results: Record, signs: Array) -> Array:
    """Scores from which on tasks are learned, ``[task]``; refused where the stream does not say enough."""
    found = told(results, "threshold")
    if found is not None:
        return found
    if told(results, "best") is None:
        raise PerdureError(
            "expected a threshold for each task; found none: let the stream say it in info['threshold'], or "
            "the best score in info['best'], or call results.sample_efficiency(threshold)"
        )
    worst, best = limits(results, signs)
    return worst + SOLVED * (best - worst)


def steps(results: Record, curve: Curve) -> Array:
    """Steps of the environment at each evaluation, ``[K]``; those of training where it is not said."""
    per_step = told(results, "world_steps_per_step")
    if per_step is None:
        return curve.steps.astype(np.float64)
    if len(set(per_step)) > 1 and not curve.stage.any():
        raise PerdureError(
            "expected a stage for each task, whose training steps stand for different numbers of environment "
            "steps; found one stage for all"
        )
    return environment_steps(curve.steps, curve.stage, per_step)


def unit(results: Record) -> str:
    """What :func:`steps` counts."""
    return ENVIRONMENT if "world_steps_per_step" in results.config.get("info", {}) else TRAINING


def is_world(results: Record) -> bool:
    """Whether the stream says of its tasks what only streams of worlds do."""
    return not {"best", "world_steps_per_step"}.isdisjoint(results.config.get("info", {}))
