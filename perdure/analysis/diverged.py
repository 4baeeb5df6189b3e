"""Which replicas diverged: they are left out of whatever is averaged, compared or drawn, and named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perdure.analysis.metrics.matrix import Array

if TYPE_CHECKING:
    from perdure.analysis.record import Record

Mask = npt.NDArray[np.bool_]
OPENING = "Seeds that diverged"


def diverged(results: Record, strategy: str) -> Mask:
    """Whether each replica diverged, ``[replica]``.

    It did when the run says so (seeds in ``extras[strategy]["diverged"]``), or when its score on a task that
    it had learned is not finite. Scores on tasks that are still to come may be missing.
    """
    scores = results.scores[strategy]
    told = np.isin(results.seeds, results.extras.get(strategy, {}).get("diverged", []))
    stages, tasks = scores.shape[1:]
    learned = np.tri(stages, tasks, k=tasks - stages, dtype=bool)
    return np.asarray(told | (~np.isfinite(scores) & learned).any(axis=(1, 2)))


def lost_seeds(results: Record) -> dict[str, list[int]]:
    """Seeds whose replica diverged, of the strategies that have some: ``Results.diverged``."""
    places = {name: np.flatnonzero(diverged(results, name)) for name in results.scores}
    return {name: [results.seeds[i] for i in found] for name, found in places.items() if len(found)}


def cleared(results: Record, strategy: str, values: Array) -> Array:
    """Return ``values [replica, ...]`` with NaN for the replicas that diverged."""
    gone = diverged(results, strategy)
    return np.where(gone.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)


def kept(results: Record, strategy: str) -> Array:
    """Scores of a strategy, ``[replica, stage, task]``, NaN where one diverged or a score is not finite."""
    scores = results.scores[strategy]
    return cleared(results, strategy, np.where(np.isfinite(scores), scores, np.nan))


def survivors(results: Record, strategy: str) -> Array:
    """Scores of the replicas that did not diverge, without the others: ``[survivor, stage, task]``."""
    return kept(results, strategy)[~diverged(results, strategy)]


def remark(results: Record, strategy: str) -> str:
    """What a name is marked with: "2 of 10 diverged", or nothing."""
    return counted(diverged(results, strategy))


def counted(gone: Mask) -> str:
    """Say how many replicas diverged: "2 of 10 diverged", or nothing."""
    return f"{gone.sum()} of {len(gone)} diverged" if gone.any() else ""


def sentence(results: Record) -> str:
    """One line on all seeds that diverged; empty when none did."""
    gone = lost_seeds(results)
    if not gone:
        return ""
    each = [
        f"{name}: {'all' if len(seeds) == len(results.seeds) else ', '.join(map(str, seeds))}"
        for name, seeds in gone.items()
    ]
    return (
        f"{OPENING} (weights or scores not finite: lower lr, or a penalty) are left out of every mean, "
        f"interval and comparison, which tables mark with *: {'; '.join(each)}."
    )
