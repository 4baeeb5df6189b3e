"""Customized gate control, and progressive layered extraction: levels of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.registry import check_widths
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.ple import PLE as Module
from perdure.models.sharing.ple import Extraction
from perdure.models.sharing.trunk import blocks, copies, widths
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("ple")
class PLE(MultiTask):
    """Give each task experts of its own beside shared ones, level after level.

    The model below its head is cut into as many blocks as there are levels, with as many layers with weights
    each as can be; an expert of a level is a copy of its block. At each level task t mixes its own experts,
    which see what t made a level below, and the shared ones: ``x_t' = sum_e softmax(W_t x_t)_e E_e`` over
    both. What the shared experts of the next level see mixes all, ``x_s' = sum_e softmax(W_s x_s)_e E_e``.
    One level is ``cgc``. The first shared expert keeps the weights that the model has.

    Parameters
    ----------
    levels:
        How many. More than one need a model that is an ``nn.Sequential`` with a layer with weights for each.
    shared:
        Shared experts of a level.
    own:
        Experts of each task at a level.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Tang et al., "Progressive layered extraction (PLE)", RecSys 2020. Deviations: none known.
    """

    levels: int = 2
    shared: int = 1
    own: int = 1
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        for name in ("levels", "shared", "own"):
            check_whole(name, getattr(self, name))
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return extraction(self, model, stream, self.levels, self.shared, self.own, self.towers)


@strategy("cgc")
class CGC(MultiTask):
    """Give each task experts of its own beside shared ones: ``ple`` with one level, for models of any kind.

    Parameters
    ----------
    shared:
        Shared experts.
    own:
        Experts of each task.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Tang et al., "Progressive layered extraction (PLE)", RecSys 2020. Deviations: none known.
    """

    shared: int = 1
    own: int = 1
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        for name in ("shared", "own"):
            check_whole(name, getattr(self, name))
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return extraction(self, model, stream, 1, self.shared, self.own, self.towers)


def extraction(
    asker: MultiTask, model: nn.Module, stream: Stream, levels: int, shared: int, own: int,
    towers: Sequence[int] | int,
) -> nn.Module:  # fmt: skip
    """Return the module of a model's blocks, its levels of experts."""
    trunk, head = asker.cut(model, stream, towers)
    parts = blocks(trunk, levels, asker.name)
    made = []
    for i, width in enumerate(widths(parts, stream.example()["x"], asker.name)):
        experts = copies(parts[i], shared + own * len(stream), asker.name)
        banks = Bank(experts[shared:]), Bank(experts[:shared])
        made.append(Extraction(*banks, len(stream), width, goes_on=i < levels - 1))
    return Module(made, head)
