"""Where strategies stand between what knows nothing, or protects nothing, and what learns with all data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.diverged import cleared, kept
from perdure.analysis.metrics.matrix import Array, mean
from perdure.analysis.metrics.needs import baseline, signs
from perdure.analysis.statistics import Gap, paired_gap
from perdure.analysis.tables import fraction
from perdure.core.errors import PerdureError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

LOW, HIGH = ("chance", "naive"), ("joint", "single")
# What answering without looking at the input reaches, where that is a number: the mean of the labels, a coin.
CONSTANT = {"R2": 0.0, "AUROC": 0.5}


def chance(results: Record) -> Array:
    """Score of a predictor that has learned nothing, ``[replica, task]``.

    A constant predictor's where that is known (0 for R2, 0.5 for AUROC), otherwise the untrained model's.
    """
    shape = (len(results.seeds), len(results.tasks))
    metric = str(results.config.get("metric", ""))
    if metric in CONSTANT:
        return np.full(shape, CONSTANT[metric])
    for name in results.strategies:
        if name in results.untrained:
            return results.untrained[name]
    raise PerdureError(
        "expected the scores of an untrained model as chance; found none: score every task before training "
        "and put them in results.untrained"
    )


def anchor(results: Record, which: str) -> Array:
    """Mean over tasks of an anchor's final scores, higher is better, ``[replica]``."""
    if which not in LOW + HIGH:
        raise unknown("anchor", which, LOW + HIGH)
    if which == "chance":
        return mean(chance(results) * signs(results))
    name = baseline(results, which)
    if name is None:
        raise PerdureError(
            f"expected a {which} baseline; found only {', '.join(results.strategies)}: add {which!r} to the "
            "strategies"
        )
    return mean(kept(results, name)[:, -1] * signs(results))


def is_anchor(results: Record, strategy: str) -> bool:
    """Tell whether a strategy is one that others are placed between."""
    return any(baseline(results, which) == strategy for which in LOW + HIGH)


def pairs(results: Record) -> list[tuple[str, str]]:
    """Pairs of a low and a high anchor that were measured and lie clearly apart."""
    return [pair for low in LOW for high in HIGH if _refusal(results, *(pair := (low, high))) is None]


def _refusal(results: Record, low: str, high: str) -> PerdureError | None:
    try:
        gap: Gap = paired_gap(anchor(results, high), anchor(results, low))
    except PerdureError as error:
        return error
    if gap.clear:
        return None
    return PerdureError(
        f"expected {high} clearly above {low} (the interval of their difference above 0); found a difference "
        f"of {gap}: train {high} longer"
    )


def table(
    results: Record, low: str | None = None, high: str | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Positions of all strategies: what ``Results.between_anchors`` returns."""
    from perdure.analysis.whole import Whole

    asked = [(a, b) for a in ([low] if low else LOW) for b in ([high] if high else HIGH)]
    for name, of in ((low, LOW), (high, HIGH)):
        if name is not None and name not in of:
            raise unknown("anchor", name, of)
    refused = [error for pair in asked if (error := _refusal(results, *pair)) is not None]
    if len(refused) == len(asked):
        raise refused[-1]
    found = pairs(results)
    rows = []
    for one, two in (pair for pair in asked if pair in found):
        bottom = anchor(results, two) - anchor(results, one)
        for strategy in results.strategies:
            own = mean(kept(results, strategy)[:, -1] * signs(results))
            top = cleared(results, strategy, own - anchor(results, one))
            seeds = np.flatnonzero(~np.isnan(top + bottom))
            sample = fraction(seeds, top[seeds, None], bottom[seeds, None])
            known = len(seeds) > 0
            middle = (float(sample.values.mean()), *sample.interval(confidence)) if known else (np.nan,) * 3
            role = next((w for w in (one, two) if baseline(results, w) == strategy), "")
            rows.append((one, two, strategy, role, *middle, len(seeds)))
    return Whole(rows, columns=["from", "to", "strategy", "anchor", "mean", "low", "high", "seeds"])
