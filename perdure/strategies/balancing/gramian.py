"""Products of the tasks' gradients, and what all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.inspect import find_head, shared, width
from perdure.strategies.contract.phase import Phase

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


def together(stream: Stream) -> list[Phase]:
    """Return one phase of all tasks, a loss for each: of its own batch, or of its label of each sample."""
    return [Phase(tuple(range(len(stream))), batch_per_task=stream[0].objective.targets == 1)]


def count_losses(stream: Stream) -> int:
    """Return how many losses are balanced: one for each task, or for each target of a sample."""
    targets = stream[0].objective.targets
    return targets if targets > 1 else len(stream)


def losses_in(batch: Batch) -> int:
    """Return how many of a step's losses are balanced; what others append to them (a penalty) is not."""
    return batch.y.shape[1] if batch.y.ndim == 2 else batch.entries


def shared_names(net: Net, params: Params, several: bool) -> tuple[str, ...]:
    """Return the names of the parameters that all losses share.

    Where each loss reads outputs of its own, the head is not: in the task-incremental setting, and where a
    sample has several labels (``several``). A model may say itself which of its parameters are not shared
    (``task_specific``).
    """
    if net.masks is not None:
        outputs = net.masks.shape[1]
    elif several:
        head = find_head(net.module)
        outputs = 0 if head is None else width(net.module.get_submodule(head)) or 0
    else:
        return shared(net.module, params, 0) if hasattr(net.module, "task_specific") else tuple(params)
    return shared(net.module, params, outputs)


def need_shared(net: Net, params: Params, stream: Stream, asker: str) -> tuple[str, ...]:
    """Return the names of the shared parameters; refuse a model that has none."""
    names = shared_names(net, params, stream[0].objective.targets > 1)
    if not names:
        kind = type(net.module).__name__
        raise PerdureError(f"{asker} needs parameters that all tasks share; found none in {kind}")
    return names


def last_layer(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of some parameters that belong to the last layer among them.

    >>> last_layer(["0.weight", "0.bias", "2.weight", "2.bias"])
    ('2.weight', '2.bias')
    """
    layer = names[-1].rpartition(".")[0]
    return tuple(name for name in names if name.rpartition(".")[0] == layer)


def gramian(grads: Params, names: Sequence[str], tasks: int) -> Tensor:
    """Return the products of the tasks' gradients, ``G_st = <g_s, g_t>``, ``[T, T]`` float64.

    Parameters
    ----------
    grads:
        The gradient of each loss, ``[losses, ...]``, of which those of the ``tasks`` come first.
    names:
        The parameters that count.
    tasks:
        T.
    """
    rows = [grads[k][:tasks].flatten(1) for k in names]
    return torch.stack([(r @ r.mT).double() for r in rows]).sum(0)


def combine(grads: Params, weights: Tensor, names: Sequence[str]) -> Params:
    """Add up the gradients of all losses: ``sum_t w_t g_t`` for these names, the plain sum for others.

    ``weights [T]`` are those of the tasks; losses behind them count once.
    """
    rows = next(iter(grads.values()))
    weights = weights.to(rows.dtype)
    every = torch.cat([weights, weights.new_ones(len(rows) - len(weights))])
    chosen = set(names)
    return {k: torch.tensordot(every, g, 1) if k in chosen else g.sum(0) for k, g in grads.items()}


def normalised(gram: Tensor) -> Tensor:
    """Return products of gradients ``[T, T]`` divided by their trace; zeros where that is 0."""
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    return gram / torch.where(trace > 0, trace, 1.0).unsqueeze(-1).unsqueeze(-1)


def unit_rows(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines of the tasks' gradients ``[T, T]``, and 1 over their lengths ``[T]``.

    A gradient of zero has cosines 0, and 0 in place of 1 over its length.
    """
    length = gram.diagonal(dim1=-2, dim2=-1).sqrt()
    unit = torch.where(length > 0, 1.0 / torch.where(length > 0, length, 1.0), 0.0)
    return gram * unit.unsqueeze(-1) * unit.unsqueeze(-2), unit
