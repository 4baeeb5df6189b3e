"""Plain sequential learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perdure.strategies.contract.registry import STRATEGIES
from perdure.strategies.contract.strategy import Strategy


@STRATEGIES.register("naive")
@dataclass(frozen=True)
class Naive(Strategy):
    """Learn one task after another and do nothing against forgetting: the lower baseline."""

    name: ClassVar[str] = "naive"
