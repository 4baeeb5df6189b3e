"""Numbers of a rule that are learned by steps of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.optim.adam import Adam


def start(tasks: int, like: Tensor) -> State:
    """Return the state of T learned numbers, 0 at first: ``value [T]`` float64, and Adam's memory."""
    value = like.new_zeros(tasks, dtype=torch.float64)
    return {"value": value, "memory": Adam().init({"value": value})}


def descend(state: State, slope: Tensor, lr: float, decay: float = 0.0) -> State:
    """Take one step of Adam down a slope ``[T]``; ``decay`` adds ``decay * value`` to it."""
    value = state["value"]
    rate = torch.full((), lr, dtype=value.dtype, device=value.device)
    moved, memory = Adam().update(
        {"value": value}, {"value": slope + decay * value}, state["memory"], rate, None
    )
    return {"value": moved["value"], "memory": memory}
