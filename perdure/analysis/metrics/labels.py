"""What metrics are called in tables and figures of given results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.analysis.metrics.registry import METRICS
from perdure.analysis.metrics.worlds import unit

if TYPE_CHECKING:
    from perdure.analysis.record import Record


def label(results: Record, metric: str) -> str:
    """Return a metric's label; scores that are no accuracies are called what they are.

    ``Average accuracy`` is ``Average return`` where scores are returns, ``Average score`` where they differ
    from task to task. Steps to a threshold are named by what they are steps of.
    """
    if metric == "steps_to_threshold":
        return f"{unit(results).capitalize()} to threshold"
    return METRICS[metric].label.replace("accuracy", _scored(results))


def heading(results: Record, metric: str) -> str:
    """Return a metric's name as the heading of a column: ``average accuracy``, ``average return``."""
    return metric.replace("_", " ").replace("accuracy", _scored(results))


def _scored(results: Record) -> str:
    return str(results.config.get("metric", "accuracy"))
