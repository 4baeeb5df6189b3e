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
# Points that a line is wider than one drawn on it, and how often: wider ones would hide what lies around.
STEP, LAYERS = 1.3, 2


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
        groups = _groups(lines)
        look = looks(results.strategies, _turns(groups) | _turns(_groups(final)))
        layers = _layers({group[0]: lines[group[0]] for group in groups})
        for group in groups:
            for name in group:  # of one width, or their dashes would not fill each other's gaps
                look[name]["width"] += STEP * layers[group[0]]
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


def _groups(lines: Mapping[str, Array]) -> list[list[str]]:
    """Strategies by line: those whose lines coincide are together, those without any number left out."""
    finite = {name: line for name, line in lines.items() if np.isfinite(line).any()}
    near = _near(finite)
    groups: list[list[str]] = []
    for name, line in finite.items():
        for group in groups:
            if np.allclose(line, finite[group[0]], rtol=0, atol=near, equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _turns(groups: list[list[str]]) -> dict[str, tuple[int, int]]:
    """Place and number of those whose lines coincide, for each strategy that has such company."""
    return {
        name: (place, len(group)) for group in groups if len(group) > 1 for place, name in enumerate(group)
    }


def _layers(lines: Mapping[str, Array]) -> dict[str, int]:
    """How many lines lie on each line along a part of it: it is drawn wider, so that its edges show."""
    near, names = _near(lines), list(lines)
    found = dict.fromkeys(names, 0)
    for place, name in reversed(list(enumerate(names))):
        above = [found[n] for n in names[place + 1 :] if _share(lines[name], lines[n], near)]
        found[name] = min(LAYERS, max(above, default=-1) + 1)
    return found


def _share(one: Array, two: Array, near: float) -> bool:
    """Whether two lines part somewhere and lie on each other elsewhere, between two neighbouring stages."""
    close = np.abs(one - two) <= near
    # Before a task was learned nearly all strategies have the same score on it.
    learned = np.tril(np.ones_like(close)) if close.ndim == 2 else np.ones_like(close)
    together = close & learned
    return bool((together[1:] & together[:-1]).any()) and not close[learned].all()


def _near(lines: Mapping[str, Array]) -> float:
    """Distance below which lines look like one."""
    if not lines:
        return 0.0
    low = min(np.nanmin(line) for line in lines.values())
    high = max(np.nanmax(line) for line in lines.values())
    return CLOSE * float(high - low)


def mean_over_replicas(values: Array) -> Array:
    """Mean over replicas; NaN where none is left."""
    return mean(values, axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def mean_where_known(values: Array) -> Array:
    """Mean over those replicas whose value is not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
