"""Small pictures of environments: lines, discs and boxes in a window of the plane, one for each copy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Colour = tuple[float, float, float]
# A point: x to the right and y upwards, each the same for all copies or one for each, [n].
Point = tuple[Tensor | float, Tensor | float]

WHITE, BLACK, GREY, SILVER = (255, 255, 255), (30, 30, 30), (130, 130, 130), (215, 215, 215)
RED, GREEN, BLUE, GOLD, BROWN = (205, 70, 70), (70, 150, 80), (60, 100, 180), (225, 175, 40), (140, 95, 60)


@dataclass(frozen=True, eq=False)
class Picture:
    """A window of the plane, painted over and over; edges are smooth, by the share of a pixel covered.

    Every method returns a new picture. All are pure functions over tensors, like those of an environment.

    Parameters
    ----------
    pixels:
        Red, green and blue in [0, 255], ``[n, height, width, 3]`` float32.
    x, y:
        Where the middles of columns and rows are, ``[width]`` and ``[height, 1]``.
    pixel:
        Width of a pixel in the plane's unit.

    Examples
    --------
    >>> import torch
    >>> blank = Picture.blank(torch.zeros(1), left=0.0, bottom=0.0, right=4.0, width=4, height=2)
    >>> blank.box((1.0, 1.0), 1.0, 1.0, BLACK).bytes()[0, :, :, 0].tolist()
    [[30, 30, 255, 255], [30, 30, 255, 255]]
    """

    pixels: Tensor
    x: Tensor
    y: Tensor
    pixel: float

    @classmethod
    def blank(
        cls, like: Tensor, left: float, bottom: float, right: float, width: int = 96, height: int = 96
    ) -> Picture:
        """Return a white picture for each row of ``like [n, ...]``, of square pixels."""
        pixel = (right - left) / width
        # Middles of pixels; the first row is the uppermost.
        x = left + pixel * (torch.arange(width, device=like.device) + 0.5)
        y = bottom + pixel * (height - 0.5 - torch.arange(height, device=like.device))
        pixels = torch.full((len(like), height, width, 3), 255.0, device=like.device)
        return cls(pixels, x, y.unsqueeze(-1), pixel)

    def fill(self, depth: Tensor, colour: Colour) -> Picture:
        """Paint where ``depth [n, height, width]``, how far a pixel's middle lies inside, is positive."""
        share = (depth / self.pixel + 0.5).clamp(0.0, 1.0).to(self.pixels.dtype)
        each = zip(self.pixels.unbind(-1), colour, strict=True)
        # Colours are numbers, not tensors: nothing is brought from the host.
        return replace(self, pixels=torch.stack([old + share * (new - old) for old, new in each], -1))

    def line(self, start: Point, end: Point, thickness: float, colour: Colour) -> Picture:
        """Paint a line with round ends."""
        (x, y), (far_x, far_y) = _over(start), _over(end)
        along_x, along_y = far_x - x, far_y - y
        beside, above = self.x - x, self.y - y
        # The nearest point of the line; the small number is for lines that are points.
        length = along_x * along_x + along_y * along_y + 1e-12
        part = ((beside * along_x + above * along_y) / length).clamp(0.0, 1.0)
        distance = ((beside - part * along_x).square() + (above - part * along_y).square()).sqrt()
        return self.fill(thickness / 2 - distance, colour)

    def disc(self, middle: Point, radius: float, colour: Colour) -> Picture:
        """Paint a disc."""
        return self.line(middle, middle, 2 * radius, colour)

    def box(self, middle: Point, half_width: float, half_height: float, colour: Colour) -> Picture:
        """Paint a rectangle."""
        x, y = _over(middle)
        beside, above = (self.x - x).abs() - half_width, (self.y - y).abs() - half_height
        return self.fill(-torch.maximum(beside, above), colour)

    def bytes(self) -> Tensor:
        """Return the picture as bytes, ``[n, height, width, 3]`` uint8."""
        return self.pixels.round().to(torch.uint8)


def enlarged(cells: Tensor, size: int) -> Tensor:
    """Return pictures ``[n, rows, columns, 3]`` in [0, 255] as bytes, a cell ``size`` pixels wide, high."""
    large = cells.repeat_interleave(size, 1).repeat_interleave(size, 2)
    return large.round().to(torch.uint8)


def _over(point: Point) -> Point:
    """Return a point whose numbers go with pixels, ``[n, 1, 1]``."""
    x, y = (v.view(-1, 1, 1) if isinstance(v, Tensor) else v for v in point)
    return x, y
