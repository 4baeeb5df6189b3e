"""Balancing tasks that are learned at once: weights of their losses, or of their gradients.

One strategy, ``balance(rule=...)``, has them all. Which rule? ``equal`` is what the others are held against.
Where losses differ in scale, rules of losses put that right at the price of a plain step: ``uncertainty``,
``dwa``, ``famo`` (one more forward pass), and ``gradnorm``, which also takes the tasks' gradients at the last
shared layer. Where gradients conflict, rules of gradients take the gradient of every task: ``pcgrad`` takes
conflicts out pair by pair, ``mgda``, ``upgrad`` and ``dualproj`` conflict with no task, ``cagrad`` stays near
the mean, ``imtl-g`` and ``nash-mtl`` do not care about scales, ``aligned-mtl`` makes gradients orthogonal.
``torchjd(...)`` has those of TorchJD. ``flat-regions`` and ``rep-mtl`` are strategies of their own.

>>> import torch
>>> from perdure.strategies.balancing import BALANCING
>>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
>>> for name in ("mgda", "upgrad", "cagrad(c=0.8)"):
...     weights = BALANCING.get(name).weights(gradients @ gradients.T, torch.ones(2), {}, None)
...     print(name, [round(float(v), 3) for v in weights @ gradients])
mgda [0.2, 0.4]
upgrad [0.25, 0.75]
cagrad(c=0.8) [0.348, 0.697]

A rule of one's own is a class of a few lines, a :class:`Rule` decorated with ``@balancing_rule("name")``.
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
from perdure.strategies.balancing.rep_mtl import RepMTL
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
    "RepMTL",
    "Rule",
    "UPGrad",
    "Uncertainty",
    "balancing_rule",
]
