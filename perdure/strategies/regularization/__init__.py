"""A penalty that keeps weights, or outputs, where earlier tasks left them."""

from perdure.strategies.regularization.ewc import EWC, OnlineEWC
from perdure.strategies.regularization.lwf import LwF
from perdure.strategies.regularization.mas import MAS
from perdure.strategies.regularization.si import SI

__all__ = ["EWC", "MAS", "SI", "LwF", "OnlineEWC"]
