"""What a strategy tries of ``tune``: numbers that only scale as replicas of one run, others in runs apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from perdure.core.errors import PerdureError, shown
from perdure.strategies.contract.composition import own_field, parts
from perdure.strategies.contract.strategy import Strategy
from perdure.training import TUNABLE

Point = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One run of a strategy: numbers ``shared`` by all replicas, and ``points`` that they differ by."""

    strategy: Strategy
    shared: Point
    points: tuple[Point, ...]

    def whole(self) -> list[Point]:
        """Return all numbers of each point."""
        return [{**self.shared, **point} for point in self.points]


def trials(strategy: Strategy, grid: Sequence[Point]) -> list[Trial]:
    """Return the runs that try what a grid says of a strategy; every value is checked."""
    points: list[Point] = []
    for whole in grid:
        own = {key: value for key, value in whole.items() if key in TUNABLE or _has(strategy, key)}
        if own not in points:
            with_numbers(strategy, own)
            points.append(own)
    together: dict[tuple[tuple[str, float], ...], list[Point]] = {}
    for point in points:
        apart = {
            k: v for k, v in point.items() if k not in TUNABLE and not (points[1:] and _scales(strategy, k))
        }
        rest = {k: v for k, v in point.items() if k not in apart}
        together.setdefault(tuple(apart.items()), []).append(rest)
    return [
        Trial(with_numbers(strategy, dict(apart)), dict(apart), tuple(rest))
        for apart, rest in together.items()
    ]


def chooses(plan: Sequence[Trial]) -> bool:
    """Tell whether a strategy tries more than one thing."""
    return sum(len(trial.points) for trial in plan) > 1


def with_numbers(strategy: Strategy, numbers: Mapping[str, float]) -> Strategy:
    """Build a strategy anew with some of its numbers replaced: its own checks apply."""
    built = []
    for part in parts(strategy):
        own = {field: value for key, value in numbers.items() if (field := own_field(part, key))}
        try:
            built.append(dataclasses.replace(part, **own) if own else part)
        except PerdureError as error:
            raise PerdureError(f"tune: {error}") from None
    return reduce(add, built)


def check_keys(keys: Iterable[str], strategies: Sequence[Strategy], finished: Collection[str] = ()) -> None:
    """Refuse keys that are no number of any strategy; ``finished`` names the kinds that are done already."""
    kinds = {part.name: part for strategy in strategies for part in parts(strategy)}
    for key in keys:
        kind, _, field = key.rpartition(".")
        if key in TUNABLE or (kind not in kinds and kind in finished):
            continue
        if kind not in kinds:
            raise PerdureError(
                f"tune must name strategies of the comparison, {', '.join(kinds)}; found {shown(key)}"
            )
        takes = [one.name for one in dataclasses.fields(kinds[kind]) if one.init]
        if field not in takes:
            raise PerdureError(f"tune: {kind} takes {', '.join(takes) or 'no numbers'}; found {shown(key)}")


def _has(strategy: Strategy, key: str) -> bool:
    return any(own_field(part, key) for part in parts(strategy))


def _scales(strategy: Strategy, key: str) -> bool:
    owners = [(part, field) for part in parts(strategy) if (field := own_field(part, key))]
    return all(field in part.scales for part, field in owners)
