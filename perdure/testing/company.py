"""Compositions in which a strategy must do what it does alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.net import Net
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.contract.composition import Composition
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.strategy import Strategy


@dataclass(frozen=True)
class Bystander(Strategy):
    """Has every hook that may stand beside another's, and lets everything pass; counts in its own state."""

    name: ClassVar[str] = "bystander"

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return model

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        return list(phases)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {"hooks": next(iter(params.values())).new_zeros(())}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + 1}

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        return tuple(params)

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        return dataclasses.replace(batch)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        return losses.clone()

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return dict(grads)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + 1}

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {"samples": batch.weight.sum()}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + task.accumulated["samples"]}


@dataclass(frozen=True)
class Reversed(Composition):
    """The composition, of hooks that return their names in the opposite order."""

    def returned(self, hook: str, part: Strategy, what: str, given: Any, found: Any) -> Any:
        return super().returned(hook, part, what, given, _reversed(found))


def _reversed(value: Any) -> Any:
    """Return the same with the names of every dictionary in the opposite order."""
    if isinstance(value, dict):
        return {k: _reversed(value[k]) for k in reversed(value)}
    if type(value) in (list, tuple):
        return type(value)(_reversed(v) for v in value)
    return value
