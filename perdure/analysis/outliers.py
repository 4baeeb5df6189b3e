"""Whether a strategy finds the tasks that a stream knows to be outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.needs import check_strategy_name
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from perdure.analysis.record import Record


def outlier_auroc(results: Record, strategy: str) -> Array:
    """Area under the ROC curve of finding the outlier tasks, ``[replicas]``.

    The share of pairs of an outlier task and another task in which the outlier has the higher number, ties
    counting half: 1 tells them apart, 0.5 is chance.

    Parameters
    ----------
    results:
        Of a stream whose ``info["outliers"]`` names tasks, as ``r-mtgb`` does.
    strategy:
        One that reports a number ``outlier`` for each task, as ``r-mtgb`` does.

    Raises
    ------
    PerdureError
        Where the stream names no outliers, or only outliers, or the strategy reports nothing of the kind.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.
    """
    check_strategy_name(results, strategy)
    names, strange = results.config["tasks"], results.config.get("info", {}).get("outliers", [])
    positive = np.array([name in strange for name in names])
    if not positive.any() or positive.all():
        raise PerdureError(
            f"expected a stream whose info names outliers among {len(names)} tasks; found {positive.sum()}"
        )
    reports = results.extras.get(strategy, {}).get("report", {}).values()
    found = next((own["outlier"] for own in reports if "outlier" in own), None)
    if found is None:
        raise PerdureError(f"expected {strategy!r} to report `outlier` for each task; found nothing of it")
    values = np.asarray(found, dtype=np.float64)
    pairs = values[:, positive, None] - values[:, None, ~positive]
    return np.asarray(((pairs > 0) + (pairs == 0) / 2).mean((1, 2)))
