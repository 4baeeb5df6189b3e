"""Balancing tasks that are learned at once: weights of their losses, or of their gradients.

One strategy, ``balance(rule=...)``, has them all.
"""

from perdure.strategies.balancing.balance import Balance
from perdure.strategies.balancing.equal import Equal
from perdure.strategies.balancing.pcgrad import PCGrad
from perdure.strategies.parts.balancing import BALANCING, Rule, balancing_rule

__all__ = ["BALANCING", "Balance", "Equal", "PCGrad", "Rule", "balancing_rule"]
