"""The residual net for small images."""

from __future__ import annotations

from torch import Tensor, nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.registry import MODELS, MOST_LAYERS, Builder, sized


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, before, h, w]`` to ``[n, after, h / stride, w / stride]``."""
        y = self.norm1(self.conv1(x)).relu()
        out: Tensor = (self.norm2(self.conv2(y)) + self.short(x)).relu()
        return out


@MODELS.register("resnet")
def resnet(width: int = 20, blocks: int = 2) -> Builder:
    """Build the reduced ResNet-18 of the continual-learning literature: four stages of residual blocks.

    Parameters
    ----------
    width:
        Channels of the first stage; each later stage doubles them.
    blocks:
        Residual blocks in each stage.

    Source: Lopez-Paz & Ranzato 2017 (20 channels, two blocks).
    """
    check_whole("width", width)
    check_whole("blocks", blocks, most=MOST_LAYERS)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        if len(shape) != 3:
            raise PerdureError(
                f"resnet needs images [channels, height, width]; found inputs of shape {shape}"
            )
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        ]  # fmt: skip
        before = width
        for stage in range(4):
            after = width * 2**stage
            for i in range(blocks):
                layers.append(Block(before, after, 2 if stage and i == 0 else 1))
                before = after
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, outputs))

    return sized("resnet", build)
