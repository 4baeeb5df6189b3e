"""Strategies of communication: what the agents of a team tell each other."""

from perdure.strategies.communication.mcs import MCS
from perdure.strategies.communication.talking import Talking

__all__ = ["MCS", "Talking"]
