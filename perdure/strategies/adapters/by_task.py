"""What strategies share that learn all tasks at once with weights of each task beside a frozen model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.batch import Params
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.models.adapters.by_task import added
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

WARM, ADAPT = "learn", "adapt"


class TaskAdapters(Strategy):
    """Freeze the model; learn what is added for each task, and the head, on all tasks at once."""

    warm: bool = True

    def check_setting(self, stream: Stream) -> None:
        """Refuse streams that do not say the task when they are scored."""
        if stream.setting != "task":
            raise PerdureError(
                f"{self.name} must be told the task when it scores: give a stream with setting='task'; "
                f"found setting={stream.setting!r}"
            )

    def phases(self, stream: Stream) -> list[Phase]:
        every = tuple(range(len(stream)))
        first = [Phase(every, WARM, stage=False, batch_per_task=True)] if self.warm else []
        return [*first, Phase(every, ADAPT, batch_per_task=True, reset=True)]

    def own(self, model: nn.Module) -> set[str]:
        """Return the names of what was added to the model."""
        return added(model)

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        own = self.own(net.module)
        moving = set(params) - own if phase == WARM else own | lowrank.head_names(net.module)
        return tuple(k for k in params if k in moving)
