"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from perdure.core.checks import check_number
from perdure.models.registry import MODELS, Builder, check_widths, sized


@MODELS.register("mlp")
def mlp(hidden: Sequence[int] | int = (256, 256), dropout: float = 0.0) -> Builder:
    """Build fully connected ReLU layers on the flattened input.

    Parameters
    ----------
    hidden:
        Width of each hidden layer; one number is one layer.
    dropout:
        Share of each hidden layer's units that training drops.
    """
    widths = check_widths("hidden", hidden)
    check_number("dropout", dropout, high=1)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()] if len(shape) != 1 else []
        width = math.prod(shape)
        for h in widths:
            layers += [nn.Linear(width, h), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = h
        return nn.Sequential(*layers, nn.Linear(width, outputs))

    return sized("mlp", build)
