"""Environments of several agents, which see tables of entities and share a reward."""

from perdure.core.entities import FEATURES, KINDS, row
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.multi_agent.referential import Referential

__all__ = ["FEATURES", "KINDS", "Referential", "TeamEnv", "row"]
