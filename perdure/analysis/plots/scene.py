"""What all panels of some results share: scores without diverged replicas, looks, marked names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.diverged import remark, survivors
from perdure.analysis.metrics.matrix import Array, average_over_seen, mean, ratio
from perdure.analysis.metrics.needs import one_stage
from perdure.analysis.plots.labels import tidy
from perdure.analysis.plots.style import Look, looks

if TYPE_CHECKING:
    from perdure.analysis.record import Record

MANY = 20  # the most tasks that get a panel each
CLOSE = 0.01  # lines this near to each other, as a share of the scale, look like one


@dataclass(frozen=True)
class Scene:
    """What every panel of some results needs: scores without the replicas that diverged, and looks.

    Parameters
    ----------
    results:
        What is drawn.
    scores:
        Scores of the replicas that did not diverge, by strategy.
    look:
        Colour, marker and lines of each strategy.
    levels:
        Strategies that learned all tasks at once.
    """

    results: Record
    scores: dict[str, Array]
    look: dict[str, Look]
    levels: list[str]

    @classmethod
    def of(cls, results: Record) -> Scene:
        """Leave out what diverged and see which lines lie on each other."""
        scores = {name: survivors(results, name) for name in results.strategies}
        levels = [name for name in results.strategies if one_stage(results, name)]
        lines = {name: _shape(values) for name, values in scores.items() if name not in levels}
        final = {name: mean_over_replicas(scores[name][:, -1]) for name in levels}
        look = looks(results.strategies, _turns(lines) | _turns(final))
        return cls(results, scores, look, levels)

    @property
    def tasks(self) -> int:
        return len(self.results.tasks)

    @property
    def staged(self) -> list[str]:
        return [name for name in self.scores if name not in self.levels]

    @property
    def score_name(self) -> str:
        return tidy(str(self.results.config.get("metric", "score")))

    @property
    def levels_marked(self) -> list[str]:
        return [self.marked(name) for name in self.levels]

    def marked(self, name: str, shown: str | None = None, between: str = " ") -> str:
        """Return a name and, where replicas diverged, how many."""
        mark = remark(self.results, name)
        return (shown or tidy(name)) + (f"{between}({mark})" if mark else "")

    def legend(self, names: list[str]) -> dict[str, Look]:
        """Entries of a legend."""
        return {self.marked(name): self.look[name] for name in names}


def _shape(scores: Array) -> Array:
    """What decides whether two lines coincide: the mean matrix, or with many tasks the average curve."""
    return (
        mean_over_replicas(scores)
        if scores.shape[-1] <= MANY
        else mean_over_replicas(average_over_seen(np.tril(scores)))
    )


def _turns(lines: Mapping[str, Array]) -> dict[str, tuple[int, int]]:
    """Place and number of those whose lines coincide, for each strategy that has such company."""
    finite = {name: line for name, line in lines.items() if np.isfinite(line).any()}
    if not finite:
        return {}
    reach = [(np.nanmin(line), np.nanmax(line)) for line in finite.values()]
    near = CLOSE * (max(high for _, high in reach) - min(low for low, _ in reach))
    groups: list[list[str]] = []
    for name, line in finite.items():
        for group in groups:
            if np.allclose(line, finite[group[0]], rtol=0, atol=near, equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return {
        name: (place, len(group)) for group in groups if len(group) > 1 for place, name in enumerate(group)
    }


def mean_over_replicas(values: Array) -> Array:
    """Mean over replicas; NaN where none is left."""
    return mean(values, axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def mean_where_known(values: Array) -> Array:
    """Mean over those replicas whose value is not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
