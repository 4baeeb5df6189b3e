"""What ``perdure list`` shows: every name that a user can ask for, with its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from perdure.core.registry import Registry
from perdure.core.specs import write_value


def everything() -> dict[str, list[tuple[str, str]]]:
    """Return (name, one line) of every entry by kind."""
    from perdure.analysis import METRICS
    from perdure.models import MODELS
    from perdure.optim.optimizer import OPTIMIZERS
    from perdure.optim.schedules import SCHEDULES
    from perdure.scenarios import SOURCES, STREAMS
    from perdure.scenarios.operators import OPERATORS
    from perdure.strategies import STRATEGIES

    return {
        "streams (GENERATOR-SOURCE)": [(name + required(STREAMS.maker(name)), "") for name in STREAMS],
        "sources": entries(SOURCES),
        "operators (STREAM | OPERATOR)": entries(OPERATORS, given=1),
        "strategies": entries(STRATEGIES),
        "models": entries(MODELS),
        "optimizers": entries(OPTIMIZERS),
        "schedules": entries(SCHEDULES),
        "environments": [("(none yet)", "")],
        "metrics": [(name, metric.label) for name, metric in METRICS.items()],
    }


def entries(registry: Registry[Any], given: int = 0) -> list[tuple[str, str]]:
    """Return ``name(parameters)`` and the first line of the docstring of every entry.

    ``given`` is how many parameters, the first ones, are no user's to write.
    """
    makers = {name: registry.maker(name) for name in registry}
    return [(name + parameters(maker, given), summary(maker)) for name, maker in makers.items()]


def parameters(maker: Callable[..., Any], given: int = 0) -> str:
    """Return ``(name=default, ...)`` as a spec has it, or nothing if there are none.

    What a user has to fill in is ``name=...``.
    """
    rows = [
        f"{p.name}={'...' if p.default is p.empty else write_value(p.default)}"
        for p in list(inspect.signature(maker).parameters.values())[given:]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return f"({', '.join(rows)})" if rows else ""


def required(maker: Callable[..., Any]) -> str:
    """Return ``(name=...)`` for the parameters that have no default, or nothing if there are none."""
    taken = inspect.signature(maker).parameters.values()
    rows = [f"{p.name}=..." for p in taken if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return f"({', '.join(rows)})" if rows else ""


def summary(maker: Callable[..., Any]) -> str:
    """Return the first sentence of the docstring."""
    lines = (inspect.getdoc(maker) or "").strip().splitlines()
    return lines[0] if lines else ""
