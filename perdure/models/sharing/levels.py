"""What models of levels of experts have in common."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from perdure.models.sharing.heads import Heads


class Levels(nn.Module):
    """Levels that follow each other, and heads.

    Parameters
    ----------
    levels:
        The levels, from the input on.
    head:
        The heads.
    """

    headless = True

    def __init__(self, levels: Sequence[nn.Module], head: Heads) -> None:
        super().__init__()
        self.levels, self.head = nn.ModuleList(levels), head
