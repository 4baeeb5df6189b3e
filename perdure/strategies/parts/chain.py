"""Models that are a chain of layers: their features can be followed, and put in other places."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from perdure.core.batch import Params
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.models.inspect import LAYERS, width
from perdure.strategies.parts.sensitivity import NORMS

# Work on each feature by itself, and on all in the same way.
ALIKE = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip


def chain(model: nn.Module, asker: str, norms: bool = False) -> dict[str, nn.Module]:
    """Return the linear and convolution layers of a model by name, in the order in which it calls them.

    Parameters
    ----------
    model:
        An ``nn.Sequential`` (of more of them) of linear layers, convolutions in one group, and layers that
        treat each feature by itself: activations, dropout, pooling, ``nn.Flatten()``.
    asker:
        Who asks, as errors begin.
    norms:
        Let norm layers stand between them.

    Raises
    ------
    PerdureError
        For every other model: norm layers where they are not let, branches, a ``forward`` of its own, no
        hidden layer.

    Examples
    --------
    >>> list(chain(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), "zipit"))
    ['0', '2']
    """
    kinds = ", norms and activations" if norms else " and activations, without norms"
    needs = f"{asker} needs a sequence of linear or convolution layers{kinds}"
    norm_layers = NORMS if norms else ()
    found: dict[str, nn.Module] = {}

    def walk(part: nn.Module, name: str) -> None:
        if type(part) is nn.Sequential:
            for key, child in part._modules.items():
                walk(child, f"{name}.{key}" if name else key)
        elif type(part) in LAYERS and getattr(part, "groups", 1) == 1:
            if any(part is other for other in found.values()):
                raise PerdureError(f"{needs}; found the layer {name!r} in two places")
            found[name] = part
        elif not (
            type(part) in ALIKE
            or isinstance(part, norm_layers)
            or (type(part) is nn.Flatten and part.start_dim == 1)
        ):
            place = f" ({name!r})" if name else ""
            raise PerdureError(f"{needs}; found {type(part).__name__}{place}")

    walk(model, "")
    if len(found) < 2 or "" in found:
        raise PerdureError(f"{needs}, with a hidden layer; found none in {type(model).__name__}")
    if getattr(model, "task_specific", None) is not None:
        raise PerdureError(f"{needs}, of which all tasks use all; found parameters of a task's own")
    for (before, layer), (name, following) in pairwise(found.items()):
        entries = following.weight[0].numel()  # type: ignore[index]
        if entries % (width(layer) or 1):
            raise PerdureError(
                f"{needs}; found {width(layer)} features of {before!r} in {entries} inputs of {name!r}"
            )
    return found


def features(entering: Tensor, layer: nn.Module, count: int) -> Tensor:
    """Return what goes into a layer as rows of so many features, ``[n * places, count]``, samples together.

    A feature of a convolution has a value at each place.
    """
    rows = (
        entering.reshape(-1, count, layer.in_features // count) if isinstance(layer, nn.Linear) else entering
    )
    return rows.flatten(2).movedim(1, -1).reshape(-1, count)


def fold(tasks: Params, joins: Params) -> Params:
    """Return one model made of several: features that were joined are averaged, and read as one.

    With the weight W_t and the bias b_t of a layer of model t, J_t the 0-1 matrix ``[features, merged]`` that
    says which of its features went where, and n the number of features that went to each: the merged weight
    is ``diag(1/n) sum_t J_t^T W_t J'_t`` and the bias ``diag(1/n) sum_t J_t^T b_t``, where J' belongs to the
    layer before and is the identity for the inputs.

    Parameters
    ----------
    tasks:
        Weights of the models, ``[T, ...]`` by name; layers that are left out are not in the result.
    joins:
        J of each layer by its name, ``[T, features, merged]``, in the order of the layers.

    >>> tasks = {"0.weight": torch.tensor([[[1.0], [2.0]], [[4.0], [3.0]]])}  # two models, two features
    >>> keep, swap = torch.eye(2), torch.eye(2).flip(0)
    >>> fold(tasks, {"0": torch.stack([keep, swap])})["0.weight"].tolist()
    [[2.0], [3.0]]
    """
    merged, before = {}, None
    for name, join in joins.items():
        count = join.sum((0, 1)).clamp_min(1)
        for key in (f"{name}.weight", f"{name}.bias"):
            if key in tasks:
                own = tasks[key]
                if key.endswith("weight") and before is not None:
                    own = read(own, before)
                total = torch.einsum(
                    "twv,twn->vn", join, own.flatten(2) if own.ndim > 2 else own.unsqueeze(2)
                )
                merged[key] = (total / count.unsqueeze(1)).reshape(own.shape[1:])
        before = join
    return merged


def read(weights: Tensor, join: Tensor) -> Tensor:
    """Return weights ``[T, out, in, ...]`` that read merged features in the place of their own."""
    blocks = weights.reshape(*weights.shape[:2], join.shape[1], -1)
    return torch.einsum("towb,twv->tovb", blocks, join).reshape(weights.shape)


def drawn(layers: dict[str, nn.Module], params: Params, rng: Rng) -> Params:
    """Return weights as layers of these kinds draw theirs: uniform in ``+-1 / sqrt(inputs)``."""
    new = dict(params)
    for name, layer in layers.items():
        bound = 1 / math.sqrt(layer.weight[0].numel())  # type: ignore[index]
        for key in (f"{name}.weight", f"{name}.bias"):
            if key in params:
                p = params[key]
                new[key] = bound * (2 * rng.uniform(key, *p.shape, dtype=p.dtype) - 1)
    return new
