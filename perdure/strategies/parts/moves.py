"""How far the modules of a model have moved so far, followed during training: pure functions over a record.

A record holds ``sums [modules]``, the sensitivities of all epochs so far added up; the weights ``before`` the
epoch that runs; and how many samples it has ``seen []`` of the ``length []`` that the task has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.strategies.parts.sensitivity import sensitivity


def start(params: Params) -> State:
    """Return the record of a model that has not been trained."""
    seen = torch.zeros((), dtype=torch.int64, device=next(iter(params.values())).device)
    sums = torch.zeros_like(sensitivity(params, params))
    return {"before": _copy(params), "sums": sums, "seen": seen, "length": torch.ones_like(seen)}


def begin(record: State, params: Params, length: int) -> State:
    """Begin a task of so many training samples, and its first epoch."""
    seen = torch.zeros_like(record["seen"])
    return {**record, "before": _copy(params), "seen": seen, "length": torch.full_like(seen, length)}


def add(record: State, params: Params, count: Tensor) -> State:
    """Follow a step on ``count`` samples; an epoch ends with the last sample of the task."""
    seen = record["seen"] + count
    through = seen >= record["length"]
    sums = record["sums"] + torch.where(through, sensitivity(record["before"], params), 0.0)
    before = {k: torch.where(through, p, record["before"][k]) for k, p in params.items()}
    return {**record, "before": before, "sums": sums, "seen": torch.where(through, 0, seen)}


def turn(record: State, params: Params) -> State:
    """Turn where the epoch began into the way from there, or back: what comes between does not count."""
    return {**record, "before": {k: params[k] - v for k, v in record["before"].items()}}


def most(record: State, params: Params, top: int) -> Tensor:
    """Tell which modules have moved most, the epoch that runs included, ``[modules]`` bool."""
    moved: Tensor = record["sums"] + sensitivity(record["before"], params)
    return moved.sort(descending=True, stable=True).indices.argsort() < top


def _copy(params: Params) -> Params:
    return {k: p.clone() for k, p in params.items()}
