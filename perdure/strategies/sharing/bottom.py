"""Hard parameter sharing: one trunk, and a head for each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.models.inspect import need_head
from perdure.models.registry import check_widths
from perdure.models.sharing.bottom import SharedBottom as Module
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask, own_outputs

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("shared-bottom")
class SharedBottom(MultiTask):
    """Share the model whole, and give each task a head.

    The model is used as it is: the rows of its head that make a task's outputs are the task's head. With
    towers it is cut below the head, ``y_t = head_t(tower_t(trunk(x)))``.

    Parameters
    ----------
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Caruana, Machine Learning 28 (1997). Deviations: none.
    """

    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        if check_widths("towers", self.towers):
            return Module(*self.cut(model, stream, self.towers), len(stream))
        own_outputs(stream, self.name)
        need_head(model, stream.outputs, self.name)
        return model
