"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.registry import check_widths
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates
from perdure.models.sharing.mmoe import MMoE as Module
from perdure.models.sharing.trunk import copies, widths
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("mmoe")
class MMoE(MultiTask):
    """Share several experts, which a gate of each task mixes by the sample.

    ``y_t = head_t(sum_e softmax(W_t x)_e E_e(x))`` with the experts ``E_e``, copies of the model below its
    head, and the gates ``W_t [experts, inputs]`` on the flattened input. The first expert keeps the weights
    that the model has, the others draw theirs as their layers do.

    Parameters
    ----------
    experts:
        How many.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", KDD 2018. Deviations: gates are drawn as torch draws linear layers.
    """

    experts: int = 4
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        check_whole("experts", self.experts)
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        trunk, head = self.cut(model, stream, self.towers)
        width = widths([trunk], stream.example()["x"], self.name)[0]
        experts = Bank(copies(trunk, self.experts, self.name))
        return Module(experts, Gates(len(stream), width, self.experts), head)
