"""Boosted trees in place of a network: for tables of numbers, from few samples.

What tasks share are trees that all of them sum, beside trees of each task's own.
"""

from perdure.strategies.trees.rmtgb import RMTGB

__all__ = ["RMTGB"]
