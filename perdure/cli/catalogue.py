"""What ``perdure list`` shows: every name that a user can ask for, with its parameters."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from perdure.core.errors import unknown
from perdure.core.registry import Registry
from perdure.core.specs import write_value

# How a name of the kind is written, where that is no call alone.
WRITTEN = {"streams": "GENERATOR-SOURCE", "operators": "STREAM | OPERATOR"}
# Longer names are followed by their line below.
LONGEST = 22
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def registries() -> dict[str, Registry[Any]]:
    """Return the tables of names by kind."""
    from perdure.envs import ENVS
    from perdure.models import MODELS
    from perdure.optim.optimizer import OPTIMIZERS
    from perdure.optim.schedules import SCHEDULES
    from perdure.scenarios import SOURCES, STREAMS
    from perdure.scenarios.operators import OPERATORS
    from perdure.strategies import STRATEGIES

    return {
        "streams": STREAMS,
        "sources": SOURCES,
        "operators": OPERATORS,
        "strategies": STRATEGIES,
        "models": MODELS,
        "optimizers": OPTIMIZERS,
        "schedules": SCHEDULES,
        "environments": ENVS,
    }


def everything() -> dict[str, list[tuple[str, str]]]:
    """Return (name, one line) of every entry by kind."""
    from perdure.analysis import METRICS

    tables = registries()
    streams = tables.pop("streams")
    return {
        "streams": [(name + required(streams.maker(name)), "") for name in streams],
        **{kind: entries(table, given=kind == "operators") for kind, table in tables.items()},
        "metrics": [(name, metric.label) for name, metric in METRICS.items()],
    }


def listing(kind: str | None = None) -> Iterator[str]:
    """Give the lines of ``perdure list``, of one kind or of all, none wider than the terminal."""
    found = everything()
    if kind is not None and kind not in found:
        raise unknown("kind", kind, found)
    width = shutil.get_terminal_size().columns
    for i, one in enumerate(found if kind is None else [kind]):
        rows = found[one] or [("(none)", "")]
        yield from [""] if i else []
        yield one + (f" ({WRITTEN[one]}):" if one in WRITTEN else ":")
        column = min(LONGEST, max(len(name) for name, _ in rows))
        for name, line in rows:
            yield from _entry(name, line, column, width)


def _entry(name: str, line: str, column: int, width: int) -> list[str]:
    head = textwrap.wrap(
        name, width - 2, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
    text = textwrap.wrap(line, max(20, width - column - 4), break_on_hyphens=False)
    if text and len(name) <= column:
        head = [f"  {name:<{column}}  {text.pop(0)}"]
    return [*head, *(f"{'':<{column + 4}}{rest}" for rest in text)]


def entries(registry: Registry[Any], given: int = 0) -> list[tuple[str, str]]:
    """Return ``name(parameters)`` and the first sentence of the docstring of every entry.

    ``given`` is how many parameters, the first ones, are no user's to write.
    """
    makers = {name: registry.maker(name) for name in registry}
    return [(name + parameters(maker, given), summary(maker)) for name, maker in makers.items()]


def taken(maker: Callable[..., Any], given: int = 0) -> list[inspect.Parameter]:
    """Return the parameters that a spec can give."""
    every = list(inspect.signature(maker).parameters.values())[given:]
    return [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def parameters(maker: Callable[..., Any], given: int = 0) -> str:
    """Return ``(name=default, ...)`` as a spec has it, or nothing if there are none.

    What a user has to fill in is ``name=...``.
    """
    rows = [f"{p.name}={default(p)}" for p in taken(maker, given)]
    return f"({', '.join(rows)})" if rows else ""


def default(parameter: inspect.Parameter) -> str:
    """Return a parameter's default as a spec has it, or dots where it has none."""
    return "..." if parameter.default is parameter.empty else write_value(parameter.default)


def required(maker: Callable[..., Any]) -> str:
    """Return ``(name=...)`` for the parameters that have no default, or nothing if there are none."""
    rows = [f"{p.name}=..." for p in taken(maker) if p.default is p.empty]
    return f"({', '.join(rows)})" if rows else ""


def summary(maker: Callable[..., Any]) -> str:
    """Return the first line of the docstring."""
    lines = (inspect.getdoc(maker) or "").strip().splitlines()
    return plain(lines[0]) if lines else ""


def plain(text: str) -> str:
    """Take the marks of the reference out of a docstring."""
    return _ROLE.sub(lambda found: found[1], text).replace("``", "")
