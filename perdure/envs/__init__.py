"""Environments that streams of tasks are made of; ``ENVS`` holds those of other packages by name."""

from __future__ import annotations

from typing import Any

from perdure.core.registry import Registry

ENVS: Registry[Any] = Registry("environment", "perdure.envs")

__all__ = ["ENVS"]
