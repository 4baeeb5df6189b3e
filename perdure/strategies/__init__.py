"""Strategies: how a learner protects, replays or shares. One method per file."""

from __future__ import annotations

from perdure.strategies.adapters import (
    CLR,
    InfLoRA,
    LoRA,
    OLoRA,
    SDLoRA,
    get_deltas,
    save_anchor,
    save_deltas,
)
from perdure.strategies.balancing import BALANCING, Balance, FlatRegions, RepMTL, Rule, balancing_rule
from perdure.strategies.baselines import Cumulative, Joint, Naive, Probe, Single
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
from perdure.strategies.projection import AGEM, GEM, AdaptiveSVD
from perdure.strategies.prompts import L2P
from perdure.strategies.regularization import EWC, MAS, SI, LwF, OnlineEWC
from perdure.strategies.replay import DER, FPF, KFPF, DERpp, GDumb, ICaRL, Replay

__all__ = [
    "AGEM",
    "BALANCING",
    "CLR",
    "DER",
    "EWC",
    "FPF",
    "GEM",
    "IBCL",
    "KFPF",
    "L2P",
    "MAS",
    "SI",
    "STRATEGIES",
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
    "ICaRL",
    "InfLoRA",
    "Joint",
    "Knowledge",
    "Learner",
    "LoRA",
    "LwF",
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
    "Single",
    "Step",
    "Strategy",
    "TaskData",
    "Terms",
    "TorchJD",
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
