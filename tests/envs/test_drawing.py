"""Lines, discs and boxes, pixel by pixel."""

import math

import torch

from perdure.envs.angles import wrap
from perdure.envs.drawing import BLACK, RED, Picture, enlarged


def blank(n=1, width=20, height=10):
    """A picture whose unit is a pixel."""
    return Picture.blank(torch.zeros(n), 0.0, 0.0, float(width), width, height)


def dark(picture):
    """The area that is covered by black, in pixels."""
    return ((255 - picture.pixels[..., 0]) / (255 - BLACK[0])).sum((1, 2))


def test_areas():
    assert dark(blank().box((7.0, 5.0), 2.0, 3.0, BLACK)).tolist() == [24.0]
    disc = float(dark(blank().disc((10.0, 5.0), 4.0, BLACK)))
    assert abs(disc - 16 * math.pi) < 0.5
    # A line with round ends: a rectangle and a disc.
    line = float(dark(blank().line((5.0, 5.0), (15.0, 5.0), 4.0, BLACK)))
    assert abs(line - (40 + 4 * math.pi)) < 0.5


def test_each_copy_has_its_own_place_and_up_is_up():
    y = torch.tensor([2.0, 8.0])
    low, high = blank(2).disc((10.0, y), 1.5, RED).bytes()
    assert torch.equal(low.flip(0), high)
    assert low[8, 9].tolist() == [*RED]
    assert low[1, 9].tolist() == [255, 255, 255]


def test_what_is_painted_last_is_on_top():
    picture = blank().box((5.0, 5.0), 2.0, 2.0, BLACK).box((5.0, 5.0), 1.0, 1.0, RED).bytes()[0]
    assert picture[5, 5].tolist() == [*RED]
    assert picture[3, 3].tolist() == [*BLACK]


def test_enlarged():
    cells = torch.tensor([0.0, 255.0]).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert enlarged(cells, 2)[0, :, :, 0].tolist() == [[0, 0, 255, 255]] * 2


def test_angles():
    angles = torch.tensor([0.1, -3.0, math.pi + 0.5, -math.pi - 0.5, 20 * math.pi + 1], dtype=torch.float64)
    expected = torch.tensor([0.1, -3.0, 0.5 - math.pi, math.pi - 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(wrap(angles), expected)
    assert wrap(angles)[0] == angles[0]
