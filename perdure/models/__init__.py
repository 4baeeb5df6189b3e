"""Backbones by name; any ``nn.Module`` will do as well."""

from __future__ import annotations

from perdure.models.cnn import cnn
from perdure.models.huggingface import encoder, matcher
from perdure.models.mlp import mlp
from perdure.models.registry import MODELS, get
from perdure.models.resnet import resnet

__all__ = ["MODELS", "cnn", "encoder", "get", "matcher", "mlp", "resnet"]
