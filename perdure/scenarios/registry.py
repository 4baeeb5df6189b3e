"""Streams by name: ``"<generator>-<source>(parameters) | operator(parameters)"``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from perdure.core.checks import fits
from perdure.core.errors import PerdureError
from perdure.core.registry import Registry
from perdure.core.specs import parse, split_outside
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators import (
    acrobot_physics,
    adult_two_targets,
    alicebob_agents,
    cartpole_drift,
    cartpole_physics,
    catch_shift,
    classic_control,
    covariance_alignment,
    critical_periods,
    device_apps,
    device_layouts,
    device_parameters,
    device_screens,
    device_templates,
    grid_world_goals,
    grid_world_sizes,
    gymnasium_ids,
    minigrid_five,
    mujoco_gravity,
    multitab_bench,
    pendulum_drift,
    pendulum_physics,
    permuted,
    r_mtgb,
    reacher_targets,
    reference_games,
    referential_games,
    rotated,
    skirmish_units,
    split,
    spread_agents,
    table_targets,
)
from perdure.scenarios.operators import OPERATORS
from perdure.scenarios.operators import concat as _concat
from perdure.scenarios.source import SOURCES

GENERATORS: dict[str, Callable[..., Stream]] = {"split": split, "permuted": permuted, "rotated": rotated}

# Streams of no source, with names of their own.
MADE: dict[str, Callable[..., Stream]] = {
    "adult-two-targets": adult_two_targets,
    "alicebob-agents": alicebob_agents,
    "acrobot-physics": acrobot_physics,
    "cartpole-drift": cartpole_drift,
    "cartpole-physics": cartpole_physics,
    "catch-shift": catch_shift,
    "classic-control": classic_control,
    "device-apps": device_apps,
    "device-layouts": device_layouts,
    "device-parameters": device_parameters,
    "device-screens": device_screens,
    "device-templates": device_templates,
    "grid-world-goals": grid_world_goals,
    "grid-world-sizes": grid_world_sizes,
    "reference-games": reference_games,
    "referential-games": referential_games,
    "skirmish-units": skirmish_units,
    "spread-agents": spread_agents,
    "gymnasium": gymnasium_ids,
    "minigrid-five": minigrid_five,
    "mujoco-gravity": mujoco_gravity,
    "pendulum-drift": pendulum_drift,
    "pendulum-physics": pendulum_physics,
    "reacher-targets": reacher_targets,
    "covariance-alignment": covariance_alignment,
    "critical-periods": critical_periods,
    "multitab-bench": multitab_bench,
    "r-mtgb": r_mtgb,
    "table-targets": table_targets,
}

# Rotation needs images: these names would only lead to an error, so they are not listed.
WITHOUT_IMAGES = frozenset({"table", "adult", "clinc150"})


class _Streams(Registry[Stream]):
    """Streams that were registered, and every generator applied to every source."""

    def __contains__(self, name: str) -> bool:
        return halves(name) is not None or super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        made = [
            f"{generator}-{source}"
            for generator in GENERATORS
            for source in SOURCES
            if not (generator == "rotated" and source in WITHOUT_IMAGES)
        ]
        return iter(sorted({*super().__iter__(), *made}))

    def maker(self, name: str) -> Callable[..., Stream]:
        """Return what builds ``name``; an unknown name is an error that lists the nearest ones."""
        found = None if name in self._makers else halves(name)
        return super().maker(name) if found is None else _combine(*found)


STREAMS = _Streams("stream", "perdure.scenarios")
register = STREAMS.register
for _name, _generator in {**GENERATORS, **MADE}.items():
    STREAMS.register(_name)(_generator)


def halves(name: str) -> tuple[str, str] | None:
    """Return the generator and the source that a name such as ``split-digits`` joins, if it does."""
    generator, _, source = name.partition("-")
    return (generator, source) if generator in GENERATORS and source in SOURCES else None


def _combine(generator: str, source: str) -> Callable[..., Stream]:
    """Return a function that hands the source its parameters and the generator all others."""
    make_stream, make_source = STREAMS.maker(generator), SOURCES.maker(source)
    of_source = _parameters(make_source)
    of_stream = {key: p for key, p in _parameters(make_stream).items() if key != "source"}

    def make(**values: Any) -> Stream:
        # What both take (`by`) goes to the source where its value fits there.
        own = {
            k for k, v in values.items() if k in of_source and (k not in of_stream or fits(make_source, k, v))
        }
        data = make_source(**{key: value for key, value in values.items() if key in own})
        return make_stream(data, **{key: value for key, value in values.items() if key not in own})

    merged = [p.replace(kind=p.KEYWORD_ONLY) for p in {**of_stream, **of_source}.values()]
    make.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    return make


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def get(spec: str) -> Stream:
    """Return the stream that a spec means.

    Parameters
    ----------
    spec:
        ``"split-digits"``: a generator and a source, with the parameters of both by name:
        ``"split-mnist-5k(setting='task', classes_per_task=5)"``. Or a generator alone:
        ``"split(source='digits')"``. Operators follow after bars: ``"split-digits | blur(width=0.2)"``.
        Values as in :func:`perdure.core.specs.parse`: ``setting=task`` needs no quotes; nothing is evaluated.

    Raises
    ------
    PerdureError
        For a name or a parameter that does not exist; the message says what there is.

    Examples
    --------
    >>> get("split-digits(setting='domain') | take(2)").names
    ['0/1', '2/3']
    """
    if not isinstance(spec, str):
        raise PerdureError(f"expected the name of a stream; found {type(spec).__name__}")
    first, *rest = split_outside(spec, "|")
    stream = STREAMS.get(first)
    for step in rest:
        name, args, kwargs = parse(step)
        stream = OPERATORS.make(name, stream, *args, **kwargs)
    return stream


@OPERATORS.register("concat")
def _concat_by_name(stream: Stream, other: str) -> Stream:
    """Let the tasks of another stream, named by a spec, follow."""
    return _concat(stream, get(other))


def names() -> list[str]:
    """Return the names of all streams: generators alone, and with every source."""
    return list(STREAMS)
