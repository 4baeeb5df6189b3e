"""The single-task baseline: a model per task."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("single")
class Single(Strategy):
    """Learn every task alone, from the same untrained start, with a model of its own; one stage.

    What multi-task gain and safeness are measured against: task t's score is what t is worth without any
    other task. Scoring needs to know the task, and costs a forward pass per task of the stream.
    While a task is learned, its model answers for it as it is: the curve (``eval_every``) shows how fast each
    task is learned alone, which forward transfer by area is measured against.
    """

    bound: ClassVar[bool] = True

    def phases(self, stream: Stream) -> list[Phase]:
        last = len(stream) - 1
        return [Phase((t,), stage=t == last, reset=True) for t in range(len(stream))]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        start = {**net.buffers, **params}
        return {
            "now": next(iter(start.values())).new_full((), -1, dtype=torch.int64),
            "start": {k: v.clone() for k, v in start.items()},
            "bank": {k: torch.stack([v] * len(stream)) for k, v in start.items()},
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return dict(state["start"]), {**state, "now": torch.full_like(state["now"], task.index)}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        learned = {**net.buffers, **params}
        bank = {k: v.clone() for k, v in state["bank"].items()}
        for k, v in learned.items():
            bank[k][task.index] = v
        return params, {**state, "bank": bank}

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        tasks = len(next(iter(state["bank"].values())))
        output = self._answer(net, params, state, 0, x, task)
        for t in range(1, tasks):
            own = (task == t).unsqueeze(-1)
            output = torch.where(own, self._answer(net, params, state, t, x, task), output)
        return net.close(output, task)

    def _answer(self, net: Net, params: Params, state: State, t: int, x: Tensor, task: Tensor) -> Tensor:
        """Raw outputs of the model of task t, ``[n, outputs]``; the one that learns now answers as it is."""
        live = {**net.buffers, **params}
        model = {k: torch.where(state["now"] == t, live[k], v[t]) for k, v in state["bank"].items()}
        return net.eval({k: model[k] for k in net.buffers}).raw({k: model[k] for k in params}, x, task)
