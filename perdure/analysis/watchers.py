"""What strategies that watch others have reported, out of results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.needs import check_strategy_name
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    from perdure.analysis.record import Record


def watched(results: Record, watcher: str) -> list[str]:
    """Name the strategies that a watcher stood beside."""
    return [name for name in results.strategies if watcher in results.extras.get(name, {}).get("report", {})]


def reported(
    results: Record, strategy: str, watcher: str, names: Iterable[str], missing: str
) -> dict[str, Array]:
    """Return what a watcher reports of a strategy, by names; nothing where that cannot be read.

    ``missing`` says what was expected and found where there is no report, which is refused.
    """
    check_strategy_name(results, strategy)
    if strategy not in watched(results, watcher):
        raise PerdureError(f"{missing}: run '{strategy} + {watcher}'")
    found = results.extras[strategy]["report"][watcher]
    try:
        return {k: np.asarray(found[k], dtype=np.float64) for k in names}
    except (KeyError, TypeError, ValueError):
        return {}
