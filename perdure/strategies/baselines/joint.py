"""The upper baselines: all tasks at once, and all tasks so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("joint")
class Joint(Strategy):
    """Train once on the training samples of all tasks, shuffled together; one stage.

    It sees as many samples as a sequential learner with the same number of epochs.
    """

    bound: ClassVar[bool] = True

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))))]


@strategy("cumulative")
class Cumulative(Strategy):
    """At each task, go on training on the training samples of all tasks so far."""

    bound: ClassVar[bool] = True

    def phases(self, stream: Stream) -> list[Phase]:
        if stream.setting == "joint":
            return super().phases(stream)
        return [Phase(tuple(range(t + 1))) for t in range(len(stream))]
