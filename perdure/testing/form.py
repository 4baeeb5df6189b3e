"""What a strategy is before it runs: a frozen dataclass that its name builds."""

from __future__ import annotations

import dataclasses

from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.registry import STRATEGIES, get
from perdure.strategies.contract.strategy import Strategy
from perdure.testing.promises import Broken


def check_form(strategy: Strategy) -> None:
    """Refuse a strategy that is no frozen dataclass, has no name, or that its name does not build."""
    for part in parts(strategy):
        settings = vars(type(part)).get("__dataclass_params__")
        if settings is None or not settings.frozen:
            raise Broken(f"{type(part).__name__} must be a frozen dataclass: decorate it")
        shadowed = sorted({f.name for f in dataclasses.fields(part)} & set(dir(Strategy)))
        if shadowed:
            raise Broken(
                f"{type(part).__name__} must name {shadowed[0]!r} otherwise: the contract has that name"
            )
        if part.name == Strategy.name:
            raise Broken(f'{type(part).__name__} must have a name of its own: decorate it, @strategy("...")')
    if all(part.name in STRATEGIES for part in parts(strategy)):
        again = get(str(strategy))
        if again != strategy:
            raise Broken(f"{strategy} must be what its name builds; that is {again!r}")
