"""The small convolutional net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.registry import MODELS, Builder, check_widths, sized


@MODELS.register("cnn")
def cnn(channels: Sequence[int] | int = (32, 64), hidden: int = 128) -> Builder:
    """Build 3x3 convolutions with ReLU and 2x2 max-pooling, then one hidden layer.

    Parameters
    ----------
    channels:
        Channels of each convolution; one number is one convolution.
    hidden:
        Width of the fully connected layer.
    """
    widths = check_widths("channels", channels)
    check_whole("hidden", hidden)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        if len(shape) != 3 or min(shape[1:]) < 2 ** len(widths):
            raise PerdureError(
                f"cnn needs images [channels, height, width] of at least {2 ** len(widths)} pixels a side; "
                f"found inputs of shape {shape}"
            )
        before, height, width = shape
        layers: list[nn.Module] = []
        for after in widths:
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            before, height, width = after, height // 2, width // 2
        layers += [nn.Flatten(), nn.Linear(before * height * width, hidden), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(hidden, outputs))

    return sized("cnn", build)
