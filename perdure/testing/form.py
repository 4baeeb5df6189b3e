"""What a strategy or an environment is before it runs: a frozen dataclass that its name builds."""

from __future__ import annotations

import dataclasses
from typing import Any

from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.registry import STRATEGIES, get
from perdure.strategies.contract.strategy import Strategy
from perdure.testing.promises import Broken


def check_form(strategy: Strategy) -> None:
    """Refuse a strategy that is no frozen dataclass, has no name, or that its name does not build."""
    for part in parts(strategy):
        check_class(part, Strategy, "strategy")
    if all(part.name in STRATEGIES for part in parts(strategy)):
        again = get(str(strategy))
        if again != strategy:
            raise Broken(f"{strategy} must be what its name builds; that is {again!r}")


def check_class(one: Any, base: Any, decorator: str) -> None:
    """Refuse an object whose class is no frozen dataclass, takes a name of the contract, or has none."""
    made = type(one)
    settings = vars(made).get("__dataclass_params__")
    if settings is None or not settings.frozen:
        raise Broken(f"{made.__name__} must be a frozen dataclass: decorate it")
    inherited = dataclasses.fields(base) if dataclasses.is_dataclass(base) else ()
    own = {f.name for f in dataclasses.fields(one)} - {f.name for f in inherited}
    shadowed = sorted(own & set(dir(base)))
    if shadowed:
        raise Broken(f"{made.__name__} must name {shadowed[0]!r} otherwise: the contract has that name")
    if one.name == base.name:
        raise Broken(f'{made.__name__} must have a name of its own: decorate it, @{decorator}("...")')
