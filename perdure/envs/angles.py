"""Angles as numbers of one turn."""

from __future__ import annotations

import math

from torch import Tensor

TURN = 2 * math.pi


def wrap(angle: Tensor) -> Tensor:
    """Return angles in radians as numbers in [-pi, pi); those that lie there stay as they are."""
    return angle - TURN * ((angle + math.pi) / TURN).floor()
