"""Environments of several agents, which see tables of entities and share a reward."""

from perdure.core.entities import FEATURES, KINDS, row
from perdure.envs.multi_agent.alicebob import AliceBob
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.multi_agent.reference import Reference
from perdure.envs.multi_agent.referential import Referential
from perdure.envs.multi_agent.skirmish import Skirmish
from perdure.envs.multi_agent.speaker_listener import SpeakerListener
from perdure.envs.multi_agent.spread import Spread

__all__ = [
    "FEATURES", "KINDS", "AliceBob", "Reference", "Referential", "Skirmish", "SpeakerListener", "Spread",
    "TeamEnv", "row",
]  # fmt: skip
