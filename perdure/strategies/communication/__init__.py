"""Strategies of communication: what the agents of a team tell each other."""

from perdure.strategies.communication.commnet import CommNet
from perdure.strategies.communication.dial import DIAL
from perdure.strategies.communication.mcs import MCS
from perdure.strategies.communication.talking import Talking
from perdure.strategies.communication.tarmac import TarMAC

__all__ = ["DIAL", "MCS", "CommNet", "Talking", "TarMAC"]
