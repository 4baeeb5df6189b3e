"""What results must be made of: names that can be written, shapes that fit, settings that JSON can hold."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.errors import PerdureError, unknown

if TYPE_CHECKING:
    from perdure.analysis.results import Results


def check(results: Results) -> None:
    """Refuse names that cannot be written, and shapes that do not fit the seeds and tasks."""
    for name in results.scores:
        _check_name(name)
    seeds, tasks = len(results.config.get("seeds", [])), len(results.config.get("tasks", []))
    for name, value in results.scores.items():
        if value.shape not in ((seeds, tasks, tasks), (seeds, 1, tasks)):
            raise PerdureError(
                f"expected scores of {name!r} with the shape [{seeds} seeds, {tasks} stages or 1, "
                f"{tasks} tasks]; found {list(value.shape)}"
            )
    for name, value in results.untrained.items():
        if value.shape != (seeds, tasks):
            raise PerdureError(
                f"expected untrained scores of {name!r} with the shape [{seeds} seeds, {tasks} tasks]; "
                f"found {list(value.shape)}"
            )
    for name, curve in results.curves.items():
        if curve.scores.shape[::2] != (seeds, tasks):
            raise PerdureError(
                f"expected a curve of {name!r} over {seeds} seeds and {tasks} tasks; found "
                f"{list(curve.scores.shape)}"
            )
    for name in (*results.untrained, *results.curves, *results.costs, *results.extras):
        if name not in results.scores:
            raise unknown("strategy", name, results.scores)


def _check_name(name: object) -> None:
    """Refuse what cannot be written in files and on terminals."""
    if not isinstance(name, str) or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise PerdureError(
            "expected names of strategies without control characters and halves of characters; found "
            f"{name!a}"
        )


def plain(what: str, value: Any) -> Any:
    """Pass ``value`` through JSON, so that what is kept is what a saved run gives back."""
    try:
        return json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError) as error:
        raise PerdureError(f"expected {what} that JSON can hold; found: {error}") from None


def _number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
