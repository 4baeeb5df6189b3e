"""Learners and rules of other libraries."""

from perdure.strategies.interop.avalanche import AvalancheStrategy
from perdure.strategies.interop.torchjd import TorchJD

__all__ = ["AvalancheStrategy", "TorchJD"]
