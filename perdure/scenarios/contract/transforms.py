"""What permuted and rotated tasks do to their inputs, when the inputs are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Bytes:
    """What bytes mean as numbers: ``byte / highest``, or one minus that.

    Images are kept as the bytes that they are, a quarter of what numbers take, and become numbers where they
    are read: a batch at a time.

    Parameters
    ----------
    highest:
        The byte that becomes 1.
    invert:
        True where it becomes 0, and 0 becomes 1.
    """

    highest: float = 255.0
    invert: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Return bytes as float32."""
        # Divided by a tensor: by a number, a GPU multiplies by its reciprocal, and the last digit differs.
        numbers = x.to(torch.float32) / torch.full((), self.highest, dtype=torch.float32, device=x.device)
        return 1 - numbers if self.invert else numbers


@dataclass(frozen=True, eq=False)
class Permute:
    """Put the values of every input in another order; the shape stays.

    Parameters
    ----------
    order:
        ``[values]`` int64: value ``i`` of the output is value ``order[i]`` of the input, counted over the
        flattened input.
    """

    order: Tensor
    moves: ClassVar[bool] = True  # values change places alone, so that it may be done on bytes

    def __call__(self, x: Tensor) -> Tensor:
        """Return the inputs ``[n, ...]`` with their values in the other order."""
        return x.flatten(1)[:, self.order.to(x.device)].reshape(x.shape)

    def inverse(self) -> Permute:
        """Return the permutation that undoes this one."""
        return Permute(torch.argsort(self.order))


@dataclass(frozen=True)
class Rotate:
    """Turn images counter-clockwise about their centre; what comes from outside is zero.

    Multiples of 90 degrees move pixels and are exact (on images that are not square: multiples of 180).
    Other angles interpolate bilinearly, in double precision: the last bit of a float32 then does not depend
    on the machine, and neither does the stream's fingerprint.

    Parameters
    ----------
    angle:
        In degrees.
    """

    angle: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the images ``[n, channels, height, width]``, turned."""
        n, channels, height, width = x.shape
        turns = self.angle / 90.0
        if turns == round(turns) and (height == width or round(turns) % 2 == 0):
            return torch.rot90(x, round(turns) % 4, (-2, -1))
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        # Coordinates run from -1 to 1 on both axes, whatever the image's sides, and y points down.
        theta = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
        grid = functional.affine_grid(
            torch.tensor([theta], dtype=torch.float64, device=x.device), [1, 1, height, width], False
        )
        # One grid serves all: the images take the place of the channels.
        planes = x.reshape(1, n * channels, height, width).to(torch.float64)
        turned = functional.grid_sample(planes, grid, "bilinear", "zeros", align_corners=False)
        return turned.reshape(x.shape).to(x.dtype)
