"""A tree of blocks whose branches are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.heads import Heads


class Branching(nn.Module):
    """Levels of nodes, each of which chooses its parent a level above; tasks choose among the last.

    While the tree is searched, training mixes the parents' answers y by
    ``d = softmax((theta + gumbel noise) / temperature)``, drawn anew at each step: a child's input is
    ``sum_p d_p y_p``. Otherwise each child takes the parent of its largest theta alone.

    Parameters
    ----------
    levels:
        The nodes of each level, from the input on.
    tasks:
        How many tasks there are.
    head:
        The heads.
    temperature:
        Of the softmax: the smaller, the nearer to a choice.

    Attributes
    ----------
    branches:
        The theta of the children of each level, ``[children, nodes]``, which start at 0.
    searching:
        1 while the tree is searched, 0 otherwise: a buffer, which the strategy sets.
    """

    headless: ClassVar[bool] = True
    searching: Tensor

    def __init__(self, levels: Sequence[Bank], tasks: int, head: Heads, temperature: float) -> None:
        super().__init__()
        self.levels, self.head, self.temperature = nn.ModuleList(levels), head, temperature
        children = [*(len(level) for level in levels[1:]), tasks]
        self.branches = nn.ParameterList(
            torch.zeros(below, len(level)) for below, level in zip(children, levels, strict=True)
        )
        self.register_buffer("searching", torch.ones(()))
        self.task_specific = (f"branches.{len(levels) - 1}", "head.")

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        for i, (level, theta) in enumerate(zip(self.levels, self.branches, strict=True)):
            made = level(x, each=i > 0)
            x = (self.choices(theta) @ made.flatten(1)).view(len(theta), *made.shape[1:])
        return self.head(x)  # type: ignore[no-any-return]

    def choices(self, theta: Tensor) -> Tensor:
        """Return how much each child takes of each node, ``[children, nodes]``."""
        nodes = torch.arange(theta.shape[-1], device=theta.device)
        chosen = (nodes == theta.argmax(-1, keepdim=True)).to(theta.dtype)
        if not self.training:
            return chosen
        drawn = F.gumbel_softmax(theta, self.temperature)
        return torch.where(self.searching > 0, drawn, chosen)
