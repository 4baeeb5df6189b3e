"""Strategies: how a learner protects, replays or shares. One method per file."""

from __future__ import annotations

from perdure.strategies.agem import AGEM
from perdure.strategies.avalanche import AvalancheStrategy
from perdure.strategies.base import Composition, Phase, Step, Strategy, TaskData
from perdure.strategies.check import check_strategy
from perdure.strategies.clr import CLR, get_deltas, save_anchor, save_deltas
from perdure.strategies.der import DER, DERpp
from perdure.strategies.ewc import EWC, OnlineEWC
from perdure.strategies.external import External, Learner, Terms
from perdure.strategies.fpf import FPF, KFPF
from perdure.strategies.front import Front, hypervolume, pareto
from perdure.strategies.gdumb import GDumb
from perdure.strategies.gem import GEM
from perdure.strategies.ibcl import IBCL
from perdure.strategies.icarl import ICaRL
from perdure.strategies.inflora import InfLoRA
from perdure.strategies.joint import Cumulative, Joint
from perdure.strategies.knowledge import Knowledge
from perdure.strategies.l2p import L2P
from perdure.strategies.lora import LoRA
from perdure.strategies.lwf import LwF
from perdure.strategies.mas import MAS
from perdure.strategies.naive import Naive
from perdure.strategies.olora import OLoRA
from perdure.strategies.packnet import PackNet
from perdure.strategies.preference import Weighted, WeightedReplay
from perdure.strategies.probe import Probe
from perdure.strategies.registry import STRATEGIES, get
from perdure.strategies.replay import Replay
from perdure.strategies.sdlora import SDLoRA
from perdure.strategies.si import SI
from perdure.strategies.single import Single
from perdure.strategies.svd import AdaptiveSVD

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
