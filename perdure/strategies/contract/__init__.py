"""What a strategy is: its hooks, its phases, and what several of them are together."""

from perdure.strategies.contract.composition import Composition
from perdure.strategies.contract.external import External, Learner, Terms
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import STRATEGIES, get
from perdure.strategies.contract.strategy import Strategy

__all__ = [
    "STRATEGIES",
    "Composition",
    "External",
    "Learner",
    "Phase",
    "Step",
    "Strategy",
    "TaskData",
    "Terms",
    "get",
]
