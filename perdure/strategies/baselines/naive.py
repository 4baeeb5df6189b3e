"""Plain sequential learning."""

from __future__ import annotations

from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy


@strategy("naive")
class Naive(Strategy):
    """Learn one task after another and do nothing against forgetting: the lower baseline."""
