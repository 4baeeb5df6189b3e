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
from perdure.strategies.interop import AvalancheStrategy
from perdure.strategies.isolation import PackNet
from perdure.strategies.projection import AGEM, GEM, AdaptiveSVD
from perdure.strategies.prompts import L2P
from perdure.strategies.regularization import EWC, MAS, SI, LwF, OnlineEWC
from perdure.strategies.replay import DER, FPF, KFPF, DERpp, GDumb, ICaRL, Replay
from perdure.strategies.sharing import CGC, DSMTL, PLE, AdaTT, HoME, LearningToBranch, MMoE, SharedBottom

__all__ = [
    "AGEM",
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
    "PLE",
    "SI",
    "STRATEGIES",
    "AdaTT",
    "AdaptiveSVD",
    "AvalancheStrategy",
    "Composition",
    "Cumulative",
    "DERpp",
    "External",
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
    "Naive",
    "OLoRA",
    "OnlineEWC",
    "PackNet",
    "Phase",
    "Probe",
    "Replay",
    "SDLoRA",
    "SharedBottom",
    "Single",
    "Step",
    "Strategy",
    "TaskData",
    "Terms",
    "Weighted",
    "WeightedReplay",
    "get",
    "get_deltas",
    "hypervolume",
    "pareto",
    "save_anchor",
    "save_deltas",
    "strategy",
]
