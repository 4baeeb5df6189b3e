"""The table of strategies, and the reading of ``"replay(200) + ewc(strength=20)"``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field
from functools import reduce
from operator import add
from typing import TypeVar, dataclass_transform

from perdure.core.errors import PerdureError, shown
from perdure.core.named import entering
from perdure.core.registry import Registry
from perdure.core.specs import split_outside
from perdure.strategies.contract.strategy import Strategy

STRATEGIES: Registry[Strategy] = Registry("strategy", "perdure.strategies")
S = TypeVar("S", bound=Strategy)


@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def strategy(name: str) -> Callable[[type[S]], type[S]]:
    """Make the decorated class a frozen dataclass of its hyperparameters, and enter it under ``name``.

    Its arguments are held against their annotations from then on; a class with an ``__init__`` of its own
    keeps it. From then on ``get`` and the command line know the name.

    Parameters
    ----------
    name:
        What it is called by: lower case, words joined by hyphens.

    Raises
    ------
    PerdureError
        For what is no strategy, and for a name that is taken.

    Examples
    --------
    >>> @strategy("anchor")  # doctest: +SKIP
    ... class Anchor(Strategy):
    ...     strength: float = 0.1
    >>> get("anchor(strength=1.0)")  # doctest: +SKIP
    Anchor(strength=1.0)
    """
    return entering(STRATEGIES, Strategy, "strategy", name)


def get(spec: str) -> Strategy:
    """Build the strategy (or the composition) that ``spec`` names, as the command line does.

    >>> from perdure.strategies import get
    >>> str(get("ewc(strength=30) + replay(capacity=100)"))
    'ewc(strength=30) + replay(capacity=100)'
    """
    if not isinstance(spec, str):
        raise PerdureError(f"expected the name of a strategy, such as 'naive'; found {shown(spec)}")
    return reduce(add, [STRATEGIES.get(part) for part in split_outside(spec, "+")])
