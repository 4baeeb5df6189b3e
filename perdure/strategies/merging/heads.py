"""What stays out of merging: outputs of a task's own, parameters of its own, norm statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perdure.core.batch import Params
from perdure.models.inspect import find_head, shared

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

STATISTICS = ("running_mean", "running_var")


def owners(stream: Stream) -> list[int]:
    """Return the task that alone uses each output, ``[outputs]``; -1 for outputs of several tasks, or none.

    In the domain and the joint setting the tasks share all outputs, also where there is only one task.
    """
    found = [-1] * stream.outputs
    if stream.setting not in ("task", "class"):
        return found
    users: list[list[int]] = [[] for _ in found]
    for index, task in enumerate(stream):
        for output in task.outputs:
            users[output].append(index)
    return [own[0] if len(own) == 1 else -1 for own in users]


def head_rows(model: nn.Module, params: Params, outputs: int) -> tuple[str, ...]:
    """Name the parameters whose rows are the model's outputs: those of its head."""
    head, together = find_head(model, outputs), set(shared(model, params, outputs))
    if head is None:
        return ()
    inside = [k for k in params if k.startswith(f"{head}." if head else "") and k not in together]
    return tuple(k for k in inside if params[k].ndim and len(params[k]) == outputs)


def own_parameters(model: nn.Module, params: Params, outputs: int) -> tuple[str, ...]:
    """Name the parameters that a model says are a task's own (towers, gates), besides its head's."""
    together = {*shared(model, params, outputs), *head_rows(model, params, outputs)}
    return tuple(k for k in params if k not in together)


def statistics(model: nn.Module, buffers: Params) -> tuple[str, ...]:
    """Name the running statistics of norm layers."""
    norms = [k for k, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    wanted = {f"{k}.{name}" if k else name for k in norms for name in STATISTICS}
    return tuple(k for k in buffers if k in wanted)


def put_rows(rows: Tensor, into: Tensor, mask: Tensor) -> Tensor:
    """Put rows of a parameter ``[outputs, ...]`` into another, where ``mask [outputs]`` says so."""
    return torch.where(mask.view(-1, *[1] * (rows.ndim - 1)), rows, into)
