"""Sets of posteriors, and models for preferences among tasks."""

from perdure.strategies.bayesian.front import Front, hypervolume, pareto
from perdure.strategies.bayesian.ibcl import IBCL
from perdure.strategies.bayesian.knowledge import Knowledge
from perdure.strategies.bayesian.preference import Weighted, WeightedReplay

__all__ = ["IBCL", "Front", "Knowledge", "Weighted", "WeightedReplay", "hypervolume", "pareto"]
