"""Multi-task architectures: what tasks share of a model, and what is each task's own.

All tasks are learned at once, in one phase whose steps draw a batch of each. The module is made out of the
model given: what lies below its head is the trunk, and an expert is a copy of the trunk with weights of its
own. Tasks need outputs of their own (the "task" setting).
"""

from perdure.strategies.sharing.adatt import AdaTT
from perdure.strategies.sharing.bottom import SharedBottom
from perdure.strategies.sharing.branching import LearningToBranch
from perdure.strategies.sharing.dsmtl import DSMTL
from perdure.strategies.sharing.home import HoME
from perdure.strategies.sharing.mmoe import MMoE
from perdure.strategies.sharing.multitab_net import MultiTab
from perdure.strategies.sharing.ple import CGC, PLE

__all__ = ["CGC", "DSMTL", "PLE", "AdaTT", "HoME", "LearningToBranch", "MMoE", "MultiTab", "SharedBottom"]
