"""Streaming merging: one model after the other, and no bank."""

from __future__ import annotations

from perdure.core.batch import Params, State
from perdure.core.errors import PerdureError
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.merging.merge import Merge
from perdure.strategies.merging.rule import MERGING, Streaming


@strategy("stream-merge")
class StreamMerge(Merge):
    """Merge as ``merge`` does, but keep no task's weights: only what the rule needs to go on.

    What is kept has the size of a few models, however many tasks there are. Of the rules that take models one
    by one, averages, task arithmetic, TIES and MagMax give what they give with a bank, up to rounding.

    Parameters
    ----------
    rule:
        A :class:`Streaming` rule or its name; others need all models at once and are refused.
    start, pretrain, pretrain_on:
        As in :class:`Merge`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rule, Streaming):
            known = [name for name in MERGING if issubclass(MERGING.maker(name), Streaming)]  # type: ignore[arg-type]
            raise PerdureError(
                f"{self.name} takes a rule that adds one model after the other ({', '.join(known)}); "
                f"found {self.rule}, which needs all of them: use 'merge'"
            )

    @property
    def adding(self) -> Streaming:
        """The rule."""
        return self.rule  # type: ignore[return-value]

    def make_memory(self, base: Params, tasks: int) -> State:
        return self.adding.begin(base)

    def add(self, memory: State, base: Params, new: Params, task: TaskData) -> tuple[Params, State]:
        memory = self.adding.add(base, memory, new, task.rng)
        return self.adding.read(base, memory), memory
