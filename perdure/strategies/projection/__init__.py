"""Steps that leave alone what earlier tasks use."""

from perdure.strategies.projection.agem import AGEM
from perdure.strategies.projection.gem import GEM
from perdure.strategies.projection.svd import AdaptiveSVD

__all__ = ["AGEM", "GEM", "AdaptiveSVD"]
