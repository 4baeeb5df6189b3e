"""Strategies: how a learner protects, replays or shares. One method per file."""

from __future__ import annotations

from perdure.strategies.adapters import (
    CLR,
    InfLoRA,
    LoRA,
    MTLLoRA,
    OLoRA,
    SDLoRA,
    get_deltas,
    save_anchor,
    save_deltas,
)
from perdure.strategies.balancing import BALANCING, Balance, FlatRegions, RepMTL, Rule, balancing_rule
from perdure.strategies.baselines import Cumulative, Joint, Naive, Probe, Single, WatchConflicts
from perdure.strategies.bayesian import IBCL, Front, Knowledge, Weighted, WeightedReplay, hypervolume, pareto
from perdure.strategies.contract import (
    STRATEGIES,
    Composition,
    External,
    Learner,
    Phase,
    Step,
    Strategy,
    TaskData,
    Terms,
    get,
)
from perdure.strategies.contract.registry import strategy
from perdure.strategies.interop import AvalancheStrategy, TorchJD
from perdure.strategies.isolation import PackNet
from perdure.strategies.merging import ATM, MERGING, Merge, StreamMerge
from perdure.strategies.projection import AGEM, GEM, AdaptiveSVD
from perdure.strategies.prompts import L2P
from perdure.strategies.regularization import EWC, MAS, SI, LwF, OnlineEWC
from perdure.strategies.replay import DER, FPF, KFPF, DERpp, GDumb, ICaRL, Replay
from perdure.strategies.sharing import (
    CGC,
    DSMTL,
    PLE,
    AdaTT,
    HoME,
    LearningToBranch,
    MMoE,
    MultiTab,
    SharedBottom,
)

__all__ = [
    "AGEM",
    "ATM",
    "BALANCING",
    "CGC",
    "CLR",
    "DER",
    "DSMTL",
    "EWC",
    "FPF",
    "GEM",
    "IBCL",
    "KFPF",
    "L2P",
    "MAS",
    "MERGING",
    "PLE",
    "SI",
    "STRATEGIES",
    "AdaTT",
    "AdaptiveSVD",
    "AvalancheStrategy",
    "Balance",
    "Composition",
    "Cumulative",
    "DERpp",
    "External",
    "FlatRegions",
    "Front",
    "GDumb",
    "HoME",
    "ICaRL",
    "InfLoRA",
    "Joint",
    "Knowledge",
    "Learner",
    "LearningToBranch",
    "LoRA",
    "LwF",
    "MMoE",
    "MTLLoRA",
    "Merge",
    "MultiTab",
    "Naive",
    "OLoRA",
    "OnlineEWC",
    "PackNet",
    "Phase",
    "Probe",
    "RepMTL",
    "Replay",
    "Rule",
    "SDLoRA",
    "SharedBottom",
    "Single",
    "Step",
    "Strategy",
    "StreamMerge",
    "TaskData",
    "Terms",
    "TorchJD",
    "WatchConflicts",
    "Weighted",
    "WeightedReplay",
    "balancing_rule",
    "get",
    "get_deltas",
    "hypervolume",
    "pareto",
    "save_anchor",
    "save_deltas",
    "strategy",
]
