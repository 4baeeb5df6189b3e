"""Balancing tasks that are learned at once: weights of their losses, or of their gradients.

One strategy, ``balance(rule=...)``, has them all.
"""

from perdure.strategies.balancing.aligned_mtl import AlignedMTL
from perdure.strategies.balancing.balance import Balance
from perdure.strategies.balancing.cagrad import CAGrad
from perdure.strategies.balancing.dualproj import DualProj
from perdure.strategies.balancing.dwa import DWA
from perdure.strategies.balancing.equal import Equal
from perdure.strategies.balancing.famo import FAMO
from perdure.strategies.balancing.flat_regions import FlatRegions
from perdure.strategies.balancing.gradnorm import GradNorm
from perdure.strategies.balancing.imtl_g import IMTLG
from perdure.strategies.balancing.mgda import MGDA
from perdure.strategies.balancing.nash_mtl import NashMTL
from perdure.strategies.balancing.pcgrad import PCGrad
from perdure.strategies.balancing.uncertainty import Uncertainty
from perdure.strategies.balancing.upgrad import UPGrad
from perdure.strategies.parts.balancing import BALANCING, Rule, balancing_rule

__all__ = [
    "BALANCING",
    "DWA",
    "FAMO",
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "Balance",
    "CAGrad",
    "DualProj",
    "Equal",
    "FlatRegions",
    "GradNorm",
    "NashMTL",
    "PCGrad",
    "Rule",
    "UPGrad",
    "Uncertainty",
    "balancing_rule",
]
