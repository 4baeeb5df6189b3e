"""What teams on grids share: starts, steps, distances, and who is who. Cells are (row, column)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perdure.core.random import Rng

Cell = tuple[int, int]
MOVES = 5  # stay, up, down, left, right


def drawn(rng: Rng, purpose: str, cells: Sequence[Cell], n: int, count: int) -> Tensor:
    """Return so many different ones of some cells, ``[n, count, 2]`` int64, each equally likely."""
    order = rng.uniform(purpose, n, len(cells)).argsort(-1)[:, :count]
    return torch.tensor(cells, device=order.device)[order]


def moved(place: Tensor, action: Tensor, first: int, last: int) -> Tensor:
    """Return places ``[n, k, 2]`` after actions ``[n, k]``, within rows and columns ``first`` to ``last``.

    Whatever is not up, down, left or right stays, as does what would leave the grid.
    """
    down = (action == 2).long() - (action == 1).long()
    right = (action == 4).long() - (action == 3).long()
    return (place + torch.stack([down, right], -1)).clamp(first, last)


def others(team: int, device: torch.device) -> Tensor:
    """Return for each of a team the numbers of the others, in order, ``[team, team - 1]`` int64."""
    rest = torch.arange(team - 1, device=device)
    return rest + (rest >= torch.arange(team, device=device).unsqueeze(-1))


def one_hot(number: Tensor, kinds: int) -> tuple[Tensor, ...]:
    """Return a tensor for each kind, 1 where ``number`` is that kind and 0 elsewhere."""
    return (number.unsqueeze(-1) == torch.arange(kinds, device=number.device)).unbind(-1)


def scaled(place: Tensor, first: int, last: int) -> Tensor:
    """Return places as numbers between -1, at the first row or column, and 1 at the last."""
    return 2 * (place - first).float() / (last - first) - 1
