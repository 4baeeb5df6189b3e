"""Learners of other libraries."""

from perdure.strategies.interop.avalanche import AvalancheStrategy

__all__ = ["AvalancheStrategy"]
