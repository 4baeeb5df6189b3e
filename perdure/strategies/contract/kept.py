"""What a strategy may ask of the replicas that a run has trained."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from perdure.core.batch import Params, State
from perdure.core.net import Net
from perdure.strategies.contract.accepts import Fits


class Kept(Protocol):
    """Trained replicas, counted by ``k``: what :class:`perdure.engine.trained.Trained` is for strategies."""

    @property
    def module(self) -> nn.Module:
        """The architecture."""

    @property
    def fits(self) -> Fits:
        """What the model takes."""

    def net(self, k: int = 0) -> Net:
        """The model of a replica as a function."""

    def params(self, k: int = 0) -> Params:
        """Trained tensors of a replica by name."""

    def buffers(self, k: int = 0) -> Params:
        """What a replica holds that was not trained."""

    def state(self, kind: str, k: int = 0) -> State:
        """What a strategy kept."""
