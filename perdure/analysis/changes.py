"""What each stage did to every other task: the matrices behind isolated forgetting and zero-shot transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.analysis.metrics import matrix
from perdure.analysis.metrics.matrix import Array
from perdure.analysis.metrics.needs import compute

if TYPE_CHECKING:
    from perdure.analysis.record import Record


def isolated_forgetting(results: Record, strategy: str) -> Array:
    """What ``Results.isolated_forgetting`` returns, ``[replica, stage, task]``."""
    function = matrix.isolated_forgetting_matrix
    return compute(results, function, ("stages",), "isolated_forgetting", strategy)


def zero_shot_transfer(results: Record, strategy: str) -> Array:
    """What ``Results.zero_shot_transfer`` returns, ``[replica, stage, task]``."""
    function = matrix.zero_shot_transfer_matrix
    return compute(results, function, ("stages", "untrained"), "zero_shot_transfer", strategy)
