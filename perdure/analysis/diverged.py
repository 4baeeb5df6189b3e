"""Which replicas diverged: figures and the report mark them and leave them out of what they average."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perdure.analysis.metrics import Array

if TYPE_CHECKING:
    from perdure.analysis.results import Results

Mask = npt.NDArray[np.bool_]


def diverged(results: Results, strategy: str) -> Mask:
    """Whether each replica diverged, ``[replica]``.

    It did when the run says so (seeds in ``extras[strategy]["diverged"]``), or when its score on a task that
    it had learned is not finite. Scores on tasks that are still to come may be missing.
    """
    scores = results.scores[strategy]
    told = np.isin(results.seeds, results.extras.get(strategy, {}).get("diverged", []))
    return told | not_finite(scores)


def not_finite(scores: Array) -> Mask:
    """Whether a replica of ``scores [replica, stage, task]`` lacks a score on a task that it had learned."""
    stages, tasks = scores.shape[1:]
    learned = np.tri(stages, tasks, k=tasks - stages, dtype=bool)
    return np.asarray((~np.isfinite(scores) & learned).any(axis=(1, 2)))


def survivors(results: Results, strategy: str) -> Array:
    """Scores of the replicas that did not diverge; a score that is not finite is NaN."""
    scores = results.scores[strategy][~diverged(results, strategy)]
    return np.where(np.isfinite(scores), scores, np.nan)


def cleared(results: Results) -> Results:
    """The same results with NaN for all that replicas scored that diverged: means leave NaN out."""
    lost = {name: diverged(results, name) for name in results.strategies}
    if not any(mask.any() for mask in lost.values()):
        return results
    return replace(
        results,
        scores={name: _cleared(scores, lost[name]) for name, scores in results.scores.items()},
        curves={
            name: replace(curve, scores=_cleared(curve.scores, lost[name]))
            for name, curve in results.curves.items()
        },
    )


def _cleared(scores: Array, lost: Mask) -> Array:
    return np.where(lost[:, None, None], np.nan, scores)


def remark(results: Results, strategy: str) -> str:
    """What a name is marked with: "2 of 10 diverged", or nothing."""
    lost = diverged(results, strategy)
    return f"{lost.sum()} of {len(lost)} diverged" if lost.any() else ""


def sentence(results: Results) -> str:
    """One line on all replicas that diverged, with their seeds; empty when there are none."""
    parts = []
    for name in results.strategies:
        seeds = [str(seed) for seed, lost in zip(results.seeds, diverged(results, name), strict=True) if lost]
        if seeds:
            parts.append(f"{name} (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})")
    return f"Diverged replicas are left out: {'; '.join(parts)}." if parts else ""
