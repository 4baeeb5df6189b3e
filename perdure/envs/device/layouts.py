"""Where the elements of a screen stand: other layouts of the same phone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import torch
from torch import Tensor

from perdure.envs.device.coding import FLAGS, coding
from perdure.envs.device.declare import CLASSES, ELEMENTS, VALUES
from perdure.envs.device.task import SLOTS


@dataclass(frozen=True, eq=False)
class Layout:
    """A permutation of places: what stands at a place, in observations and in actions.

    Parameters
    ----------
    seen:
        Of each number of an observation, which one of the usual layout's it is, ``[size]``.
    done:
        Of each action, the number that it has in the usual layout, ``[actions]``.
    """

    seen: Tensor
    done: Tensor

    @property
    def undone(self) -> Tensor:
        """Of each action of the usual layout, the number that it has here, ``[actions]``."""
        return self.done.argsort()


@lru_cache(maxsize=64)
def layout(number: int, device: torch.device | None = None) -> Layout:
    """Return a layout by its number: 0 is the usual one, in each other the elements change places.

    >>> [int(at) for at in layout(0).done[:3]]
    [0, 1, 2]
    """
    places = list(range(ELEMENTS))
    if number:
        Random(f"layout {number}").shuffle(places)
    codes = coding()
    seen = list(range(codes.globals))
    start = codes.globals
    for width in (len(CLASSES) + len(FLAGS), VALUES, SLOTS, SLOTS):
        seen += [start + place * width + k for place in places for k in range(width)]
        start += ELEMENTS * width
    done = list(range(len(codes.actions)))
    first = {one.kind: i for i, one in reversed(list(enumerate(codes.actions))) if one.element >= 0}
    for begin in first.values():
        done[begin : begin + ELEMENTS] = [begin + place for place in places]
    return Layout(torch.tensor(seen, device=device), torch.tensor(done, device=device))
