"""Deep safe multi-task learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.models.registry import check_widths
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.dsmtl import DSMTL as Module
from perdure.models.sharing.trunk import copies
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("dsmtl")
class DSMTL(MultiTask):
    """Learn a public model for all tasks and a private one for each, and how much each task takes of both.

    ``y_t = a_t public_t(x) + (1 - a_t) private_t(x)`` with one trunk for the public answers, a trunk for each
    task for the private ones, heads on all, and ``a_t`` in [0, 1], trained with the rest. A task that others
    harm can turn to its private model: it is to be no worse than learned alone (safe).

    The public trunk keeps the weights that the model has. An answer costs a pass through a trunk per task.

    Parameters
    ----------
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Yue et al., "Deep safe multi-task learning", arXiv 2111.10601, its joint learning. Reconstructed:
    ``a_t`` is a sigmoid that starts at 1/2.
    """

    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        trunk, head = self.cut(model, stream, self.towers)
        _, private_head = self.cut(model, stream, self.towers)
        public, *private = copies(trunk, 1 + len(stream), self.name)
        return Module(public, Bank(private), head, private_head)
