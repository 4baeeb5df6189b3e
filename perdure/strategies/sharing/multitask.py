"""What multi-task architectures have in common: one phase of all tasks, and outputs of each task's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.errors import PerdureError
from perdure.models.registry import check_widths
from perdure.models.sharing.heads import Heads
from perdure.models.sharing.trunk import cut
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@dataclass(frozen=True)
class MultiTask(Strategy):
    """Learn all tasks at once: each step draws a batch of every task, and takes a loss of each."""

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def cut(self, model: nn.Module, stream: Stream, towers: Sequence[int] | int) -> tuple[nn.Module, Heads]:
        """Return a copy of the model below its head, and new heads, one a task, behind towers."""
        owned = own_outputs(stream, self.name)
        trunk, width = cut(model, stream.outputs, self.name)
        return trunk, Heads(owned, stream.outputs, width, check_widths("towers", towers))


def own_outputs(stream: Stream, asker: str) -> list[tuple[int, ...]]:
    """Return the outputs of each task; refuse tasks that share some, or must share them when scored."""
    if stream.setting != "task":
        raise PerdureError(
            f"{asker} gives each task outputs of its own: give a stream with setting='task'; "
            f"found setting={stream.setting!r}"
        )
    taken: dict[int, str] = {}
    for task in stream:
        for o in task.outputs:
            if o in taken:
                raise PerdureError(
                    f"{asker} gives each task outputs of its own; output {o} belongs to "
                    f"{taken[o]!r} and {task.name!r}"
                )
            taken[o] = task.name
    return [tuple(task.outputs) for task in stream]
