"""A memory of earlier samples."""

from perdure.strategies.replay.der import DER, DERpp
from perdure.strategies.replay.fpf import FPF, KFPF
from perdure.strategies.replay.gdumb import GDumb
from perdure.strategies.replay.icarl import ICaRL
from perdure.strategies.replay.replay import Replay

__all__ = ["DER", "FPF", "KFPF", "DERpp", "GDumb", "ICaRL", "Replay"]
