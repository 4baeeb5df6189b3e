"""The linear probe: how far the features go that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perdure.core.batch import Params, State
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.sensitivity import by_module, named_modules

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("probe")
class Probe(Strategy):
    """Train the head alone, task after task; all other weights stay as they were, to the bit.

    With a pretrained model, the baseline that any fine-tuning has to beat: with a head per task
    (task-incremental setting, no weight decay) it forgets nothing. What the optimiser remembers starts afresh
    with each task, or it would go on moving the heads of earlier ones. With random weights it shows what
    random features give. Running statistics of norm layers are put back at the end of each task.

    Parameters
    ----------
    modules:
        What is trained: ``"head"`` (the last linear or convolution), or other modules, as for :class:`FPF`.
    """

    modules: str | Sequence[str] = "head"

    def phases(self, stream: Stream) -> list[Phase]:
        return [replace(phase, reset=i > 0) for i, phase in enumerate(super().phases(stream))]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        self.trainable(net, params, "")  # a module that does not exist is found before any work
        return {"buffers": {k: v.clone() for k, v in net.buffers.items()}}

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        chosen = named_modules(self.modules, net.module, params)
        groups = by_module(params).values()
        return tuple(k for own, names in zip(chosen, groups, strict=True) if own for k in names)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return {**params, **{k: v.clone() for k, v in state["buffers"].items()}}, state
