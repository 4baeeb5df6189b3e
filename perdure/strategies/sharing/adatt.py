"""Adaptive task-to-task fusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.registry import check_widths
from perdure.models.sharing.adatt import AdaTT as Module
from perdure.models.sharing.adatt import Fusion
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.trunk import blocks, copies, widths
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("adatt")
class AdaTT(MultiTask):
    """Give each task experts of its own, and let it take of those of all, level after level.

    ``x_t' = sum_e softmax(W_t x_t)_e E_e + sum_{e of t} v_{t,e} E_e``: a gate over the experts of all tasks,
    each of which sees what its task made a level below, and task t's own ones again at trained weights.
    Blocks and experts are as in ``ple``; the first expert of the first task keeps the weights that the model
    has.

    Parameters
    ----------
    levels:
        How many. More than one need a model that is an ``nn.Sequential`` with a layer with weights for each.
    own:
        Experts of each task at a level.
    shared:
        Experts of no task at a level, which see a mixture of their own, as if they were a task's.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Li et al., "AdaTT: adaptive task-to-task fusion network for multitask learning in
    recommendations", KDD 2023. Reconstructed: that the v start at ``1 / own``.
    """

    levels: int = 2
    own: int = 1
    shared: int = 0
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        check_whole("levels", self.levels)
        check_whole("own", self.own)
        check_whole("shared", self.shared, 0)
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        trunk, head = self.cut(model, stream, self.towers)
        parts = blocks(trunk, self.levels, self.name)
        tasks, made = len(stream), []
        for i, width in enumerate(widths(parts, stream.example()["x"], self.name)):
            experts = Bank(copies(parts[i], self.own * tasks + self.shared, self.name))
            made.append(Fusion(experts, tasks, self.own, width, goes_on=i < self.levels - 1))
        return Module(made, head)
