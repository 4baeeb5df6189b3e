"""Backbones by name; any ``nn.Module`` will do as well."""

from __future__ import annotations

from perdure.models.backbones.actor_critic import actor_critic
from perdure.models.backbones.cnn import cnn
from perdure.models.backbones.huggingface import encoder, matcher
from perdure.models.backbones.mlp import mlp
from perdure.models.backbones.pointer import pointer
from perdure.models.backbones.resnet import resnet
from perdure.models.registry import MODELS, get
from perdure.models.teams import team_net

__all__ = [
    "MODELS", "actor_critic", "cnn", "encoder", "get", "matcher", "mlp", "pointer", "resnet", "team_net",
]  # fmt: skip
