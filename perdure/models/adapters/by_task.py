"""Layers of a model that choose weights by the task of each sample, and the model around them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.core.net import takes_task
from perdure.models.adapters.lowrank import HEAD, Targets, find_targets, head_of


class TaskLayer(nn.Module):
    """A frozen layer with weights beside it that differ by task: :class:`ByTask` tells it the tasks.

    Parameters
    ----------
    base:
        The layer as it was.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.task: Tensor | None = None

    def tasks_of(self, x: Tensor) -> Tensor:
        """Return the task of each row of what goes in, ``[n]``."""
        if self.task is None or len(self.task) != len(x):
            found = "none" if self.task is None else f"{len(self.task)} tasks"
            raise PerdureError(
                f"weights by task need rows that are samples, with a task each; found {found} for "
                f"{len(x)} rows"
            )
        return self.task


class ByTask(nn.Module):
    """A model with :class:`TaskLayer` inside, as a function of inputs and the task ``[n]`` of each.

    Parameters
    ----------
    body:
        The model.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs ``[n, ...]`` and their tasks ``[n]``."""
        layers = [part for part in self.modules() if isinstance(part, TaskLayer)]
        for layer in layers:
            layer.task = task
        try:
            output: Tensor = self.body(x, task) if takes_task(self.body) else self.body(x)
        finally:
            for layer in layers:
                layer.task = None
        return output


def adapt(
    model: nn.Module, outputs: int, wrap: Callable[[nn.Module], TaskLayer], chosen: Mapping[str, nn.Module],
    frozen: bool,
) -> ByTask:  # fmt: skip
    """Return a copy of a model with layers by task, which is told the tasks; arguments as for `exchange`."""
    return ByTask(exchange(model, outputs, wrap, chosen, frozen))


def exchange(
    model: nn.Module, outputs: int, wrap: Callable[[nn.Module], nn.Module], chosen: Mapping[str, nn.Module],
    frozen: bool,
) -> nn.Module:  # fmt: skip
    """Return a copy of a model in which each chosen layer is what ``wrap`` makes of it.

    Parameters
    ----------
    model, outputs:
        The model and its number of outputs.
    wrap:
        Makes a layer with weights beside it of a layer.
    chosen:
        The layers of the model, by name.
    frozen:
        Whether all but what is added and the head need no gradient.
    """
    body, head = copy.deepcopy(model), head_of(model, outputs)
    if "" in chosen or head == "":
        raise PerdureError(f"adapters need layers below a head; found only {type(model).__name__}")
    if frozen:
        body.requires_grad_(False)
    if head is not None:
        body.get_submodule(head).requires_grad_(True)
        setattr(body.get_submodule(head), HEAD, True)
    for path in chosen:
        parent, _, name = path.rpartition(".")
        if isinstance(body.get_submodule(parent), nn.MultiheadAttention):
            raise PerdureError(
                f"adapters need layers that are called; torch's attention reads the weights of {path} "
                "itself: choose other targets"
            )
        setattr(body.get_submodule(parent), name, wrap(body.get_submodule(path)))
    return body


def added(model: nn.Module) -> set[str]:
    """Return the names of what layers by task, and the model around them, have beside what they wrap."""
    found: set[str] = set()
    for path, part in model.named_modules():
        if isinstance(part, TaskLayer | ByTask):
            own = (k for k, _ in part.named_parameters() if not k.startswith(("base.", "body.")))
            found |= {f"{path}.{k}".lstrip(".") for k in own}
    return found


def linear_targets(model: nn.Module, outputs: int, targets: Targets, asker: str) -> dict[str, nn.Linear]:
    """Return the linear layers to adapt, by name; ``asker`` is who asks, as errors begin."""
    found = find_targets(model, outputs, targets)
    chosen = {path: layer for path, layer in found.items() if isinstance(layer, nn.Linear)}
    if not chosen:
        raise PerdureError(f"{asker} needs linear layers to adapt; found convolutions alone")
    return chosen


def of_each(weight: Tensor, task: Tensor, x: Tensor) -> Tensor:
    """Multiply the rows ``x [n, ..., in]`` of each sample with its task's ``weight[task]``, ``[out, in]``."""
    each = weight.index_select(0, task)
    rows = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)
    return (rows @ each.mT).view(*x.shape[:-1], -1)
