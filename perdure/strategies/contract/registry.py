"""The table of strategies, and the reading of ``"replay(200) + ewc(strength=20)"``."""

from __future__ import annotations

from functools import reduce
from operator import add

from perdure.core.errors import PerdureError, shown
from perdure.core.registry import Registry
from perdure.core.specs import split_outside
from perdure.strategies.contract.strategy import Strategy

STRATEGIES: Registry[Strategy] = Registry("strategy")


def get(spec: str) -> Strategy:
    """Build the strategy (or the composition) that ``spec`` names, as the command line does.

    >>> from perdure.strategies import get
    >>> str(get("ewc(strength=30) + replay(capacity=100)"))
    'ewc(strength=30) + replay(capacity=100)'
    """
    if not isinstance(spec, str):
        raise PerdureError(f"expected the name of a strategy, such as 'naive'; found {shown(spec)}")
    return reduce(add, [STRATEGIES.get(part) for part in split_outside(spec, "+")])
