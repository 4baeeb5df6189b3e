"""Few new weights for each task, beside those of a model that stays."""

from perdure.strategies.adapters.clr import CLR, get_deltas, save_anchor, save_deltas
from perdure.strategies.adapters.hyperformer import Hyperformer
from perdure.strategies.adapters.inflora import InfLoRA
from perdure.strategies.adapters.lora import LoRA
from perdure.strategies.adapters.mtl_lora import MTLLoRA
from perdure.strategies.adapters.olora import OLoRA
from perdure.strategies.adapters.residual import ResidualAdapters
from perdure.strategies.adapters.scalearn import ScaLearn
from perdure.strategies.adapters.sdlora import SDLoRA
from perdure.strategies.adapters.smora import SMoRA
from perdure.strategies.adapters.soka import SoKA

__all__ = [
    "CLR",
    "Hyperformer",
    "InfLoRA",
    "LoRA",
    "MTLLoRA",
    "OLoRA",
    "ResidualAdapters",
    "SDLoRA",
    "SMoRA",
    "ScaLearn",
    "SoKA",
    "get_deltas",
    "save_anchor",
    "save_deltas",
]
