"""A model below its head, copies of it with other weights, and the blocks that it is cut into."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.core.net import takes_task
from perdure.models.inspect import need_head
from perdure.models.redraw import redraw


def cut(model: nn.Module, outputs: int, asker: str) -> tuple[nn.Module, int]:
    """Return a copy of a model without its head, which is the identity there, and the width of its features.

    Parameters
    ----------
    model:
        Any model whose head is a linear layer.
    outputs:
        How many outputs the head has.
    asker:
        Who asks, as errors begin.

    Raises
    ------
    PerdureError
        Where the head is none, is no linear layer, or is the whole model; where the model asks for the task.

    Examples
    --------
    >>> trunk, width = cut(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), 3, "mmoe")
    >>> trunk(torch.zeros(2, 5)).shape, width
    (torch.Size([2, 8]), 8)
    """
    head = need_head(model, outputs, asker)
    layer = model.get_submodule(head)
    if not isinstance(layer, nn.Linear):
        raise PerdureError(f"{asker} needs a linear layer as the head; found {type(layer).__name__}")
    if takes_task(model):
        raise PerdureError(f"{asker} needs a model of the input alone; {type(model).__name__} takes the task")
    if head == "":
        raise PerdureError(f"{asker} needs layers below the head; found a model that is a linear layer alone")
    trunk = copy.deepcopy(model)
    trunk.set_submodule(head, nn.Identity())
    return trunk, layer.in_features


def copies(part: nn.Module, count: int, asker: str) -> list[nn.Module]:
    """Return so many copies of a part of a model: the first with its weights, the others with drawn ones.

    Each layer draws as its ``reset_parameters`` does.

    Parameters
    ----------
    part:
        A trunk, or a block of one.
    count:
        How many.
    asker:
        Who asks, as errors begin.

    Raises
    ------
    PerdureError
        Where the part has no parameters, has running statistics (which samples of all tasks would write on),
        or has weights that no layer draws, so that all copies would be one.
    """
    if not any(True for _ in part.parameters()):
        raise PerdureError(f"{asker} needs layers with parameters below the head; found none")
    for name, layer in part.named_modules():
        if getattr(layer, "running_mean", None) is not None:
            raise PerdureError(
                f"{asker} takes no running statistics, which experts can't share; found "
                f"{type(layer).__name__} {name!r}: use a layer or group norm"
            )
    made = [copy.deepcopy(part), *(redraw(part) for _ in range(count - 1))]
    if count > 1:
        first, second = (dict(m.named_parameters()) for m in made[:2])
        for name, value in first.items():
            # Constants (gains of 1, biases of 0) are the same in every construction.
            if torch.equal(value, second[name]) and bool((value != value.flatten()[0]).any()):
                raise PerdureError(
                    f"{asker} needs weights that can be drawn anew for each expert; nothing draws {name!r}: "
                    "give its module a reset_parameters"
                )
    return made


def blocks(trunk: nn.Module, levels: int, asker: str) -> list[nn.Module]:
    """Cut a trunk into blocks, one a level, which have as many layers with weights as can be.

    What has no weight matrix (activations, norms, dropout) stays with the layer before it.

    Parameters
    ----------
    trunk:
        For several levels an ``nn.Sequential``; those inside it are taken apart.
    levels:
        How many.
    asker:
        Who asks, as errors begin.

    Raises
    ------
    PerdureError
        Where the trunk is no sequence, or has fewer layers with weights than there are levels.

    Examples
    --------
    >>> trunk = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU())
    >>> [len(block) for block in blocks(trunk, 2, "ple")]
    [2, 2]
    """
    if levels == 1:
        return [trunk]
    if not isinstance(trunk, nn.Sequential):
        raise PerdureError(
            f"{asker} fuses at {levels} levels and needs an nn.Sequential; found {type(trunk).__name__}"
        )
    units: list[list[nn.Module]] = []
    before: list[nn.Module] = []
    for layer in _flat(trunk):
        if any(p.ndim > 1 for p in layer.parameters()):
            units.append([*before, layer])
            before = []
        else:
            (units[-1] if units else before).append(layer)
    if len(units) < levels:
        raise PerdureError(
            f"{asker} needs a layer with weights for each of its {levels} levels below the head; "
            f"found {len(units)}"
        )
    groups: list[list[nn.Module]] = [[] for _ in range(levels)]
    for i, unit in enumerate(units):
        groups[i * levels // len(units)] += unit
    return [nn.Sequential(*group) for group in groups]


def _flat(sequence: nn.Sequential) -> list[nn.Module]:
    """Return the layers of a sequence and of those inside it, but for identities."""
    found = []
    for layer in sequence:
        if isinstance(layer, nn.Sequential):
            found += _flat(layer)
        elif not isinstance(layer, nn.Identity):
            found.append(layer)
    return found


def widths(parts: list[nn.Module], example: Tensor, asker: str) -> list[int]:
    """Return how many numbers go into each of some blocks that follow each other, from an example input.

    Parameters
    ----------
    parts:
        The blocks.
    example:
        Inputs, ``[1, ...]``.
    asker:
        Who asks, as errors begin.

    Raises
    ------
    PerdureError
        Where the input is no floating point (token ids), or the blocks do not take it.
    """
    if not example.is_floating_point():
        raise PerdureError(
            f"{asker} has gates on the input, which need real numbers; found inputs of {example.dtype}"
        )
    x, found = example.to(torch.get_default_dtype()), []
    for part in parts:
        found.append(x[0].numel())
        if part is not parts[-1]:
            with torch.no_grad():
                try:
                    x = copy.deepcopy(part).eval()(x)
                except RuntimeError as error:
                    raise PerdureError(
                        f"the model does not take inputs of shape {tuple(example.shape[1:])}: {error}"
                    ) from error
    return found
