"""Strategies: how a learner protects, replays or shares. One method per file."""

from __future__ import annotations

from perdure.strategies.projection.agem import AGEM
from perdure.strategies.interop.avalanche import AvalancheStrategy
from perdure.strategies.contract.base import Composition, Phase, Step, Strategy, TaskData
from perdure.testing.check_strategy import check_strategy
from perdure.strategies.adapters.clr import CLR, get_deltas, save_anchor, save_deltas
from perdure.strategies.replay.der import DER, DERpp
from perdure.strategies.regularization.ewc import EWC, OnlineEWC
from perdure.strategies.contract.external import External, Learner, Terms
from perdure.strategies.replay.fpf import FPF, KFPF
from perdure.strategies.bayesian.front import Front, hypervolume, pareto
from perdure.strategies.replay.gdumb import GDumb
from perdure.strategies.projection.gem import GEM
from perdure.strategies.bayesian.ibcl import IBCL
from perdure.strategies.replay.icarl import ICaRL
from perdure.strategies.adapters.inflora import InfLoRA
from perdure.strategies.baselines.joint import Cumulative, Joint
from perdure.strategies.bayesian.knowledge import Knowledge
from perdure.strategies.prompts.l2p import L2P
from perdure.strategies.adapters.lora import LoRA
from perdure.strategies.regularization.lwf import LwF
from perdure.strategies.regularization.mas import MAS
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.adapters.olora import OLoRA
from perdure.strategies.isolation.packnet import PackNet
from perdure.strategies.bayesian.preference import Weighted, WeightedReplay
from perdure.strategies.baselines.probe import Probe
from perdure.strategies.contract.registry import STRATEGIES, get
from perdure.strategies.replay.replay import Replay
from perdure.strategies.adapters.sdlora import SDLoRA
from perdure.strategies.regularization.si import SI
from perdure.strategies.baselines.single import Single
from perdure.strategies.projection.svd import AdaptiveSVD

__all__ = [
    "AGEM",
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
    "Composition",
    "Cumulative",
    "DERpp",
    "External",
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
    "Replay",
    "SDLoRA",
    "Single",
    "Step",
    "Strategy",
    "TaskData",
    "Terms",
    "Weighted",
    "WeightedReplay",
    "check_strategy",
    "get",
    "get_deltas",
    "hypervolume",
    "pareto",
    "save_anchor",
    "save_deltas",
]
