"""Environments that streams of tasks are made of: pure functions over tensors.

``ENVS`` holds them by name, those of other packages too; :func:`environment` registers one of your own.
"""

from perdure.envs.actions import Actions, Continuous, Discrete, PaddedDiscrete, Team
from perdure.envs.contract import Env
from perdure.envs.device import Device
from perdure.envs.multi_agent import (
    AliceBob,
    Reference,
    Referential,
    Skirmish,
    SpeakerListener,
    Spread,
    TeamEnv,
)
from perdure.envs.padded import Padded
from perdure.envs.registry import ENVS, environment, get
from perdure.envs.single_agent import Acrobot, CartPole, Catch, GridWorld, MountainCar, Pendulum, Reacher

__all__ = [
    "ENVS",
    "Acrobot",
    "Actions",
    "AliceBob",
    "CartPole",
    "Catch",
    "Continuous",
    "Device",
    "Discrete",
    "Env",
    "GridWorld",
    "MountainCar",
    "Padded",
    "PaddedDiscrete",
    "Pendulum",
    "Reacher",
    "Reference",
    "Referential",
    "Skirmish",
    "SpeakerListener",
    "Spread",
    "Team",
    "TeamEnv",
    "environment",
    "get",
]
