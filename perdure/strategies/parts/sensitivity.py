"""How far the modules of a model move, and which of them to choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perdure.core.batch import Params
from perdure.core.errors import PerdureError
from perdure.models.inspect import LAYERS, find_head

if TYPE_CHECKING:
    from perdure.core.random import Rng

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def by_module(params: Params) -> dict[str, list[str]]:
    """Return the names of the trained tensors of each module: what stands before the last dot is the module.

    >>> by_module(dict.fromkeys(["0.weight", "0.bias", "2.weight"]))
    {'0': ['0.weight', '0.bias'], '2': ['2.weight']}
    """
    groups: dict[str, list[str]] = {}
    for name in params:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return groups


def sensitivity(before: Params, after: Params) -> Tensor:
    """Return the mean absolute move of each module's weights, ``[modules]`` in the order of the parameters.

    ``(1 / |theta^l|) * ||theta^l_after - theta^l_before||_1`` for module l: between two epochs of a task, the
    sensitivity of k-FPF (arXiv 2304.04158).
    """
    return torch.stack(
        [
            torch.stack([(after[n] - before[n]).abs().sum() for n in names]).sum() / _size(before, names)
            for names in by_module(before).values()
        ]
    )


def sizes(params: Params) -> list[int]:
    """Return the number of trained weights of each module."""
    return [_size(params, names) for names in by_module(params).values()]


def _size(params: Params, names: Sequence[str]) -> int:
    return sum(params[n].numel() for n in names)


def named_modules(modules: str | Sequence[str], module: nn.Module, params: Params) -> list[bool]:
    """Tell which modules of a model a choice by name means.

    Parameters
    ----------
    modules:
        Names as in ``by_module``, and ``"head"`` (the last layer with weights), ``"norm"`` (normalising
        layers), ``"first"`` (the first convolution or linear layer) and ``"all"``; a string joins them by +
        or a comma.
    module, params:
        The model and its trained tensors.
    """
    wanted = modules.replace("+", ",").split(",") if isinstance(modules, str) else modules
    groups = list(by_module(params))
    layers = {n: m for n, m in module.named_modules() if n in groups}
    head = find_head(module)
    kinds = {
        "head": [head] if head in layers else [],
        "first": [n for n, m in layers.items() if isinstance(m, LAYERS)][:1],
        "norm": [n for n, m in layers.items() if isinstance(m, NORMS)],
        "all": groups,
    }
    chosen: set[str] = set()
    for name in (w.strip() for w in wanted):
        if name not in kinds and name not in groups:
            known = ", ".join(map(repr, groups))
            raise PerdureError(
                f"modules must be 'auto', 'all', 'head', 'norm', 'first' or among {known}; found {name!r}"
            )
        chosen.update(kinds.get(name, [name]))
    if not chosen:
        raise PerdureError(f"modules must name a module that the model has; found none for {modules!r}")
    return [n in chosen for n in groups]


def all_weights(params: Params, chosen: Tensor) -> dict[str, Tensor]:
    """Return a mask like each parameter of the weights of the chosen modules, ``[modules]`` bool."""
    groups = by_module(params).values()
    owner = {n: one for names, one in zip(groups, chosen, strict=True) for n in names}
    return {n: one.expand_as(params[n]).clone() for n, one in owner.items()}


def random_weights(params: Params, chosen: Tensor, rng: Rng) -> dict[str, Tensor]:
    """Return a mask like each parameter of random weights, as many as the chosen modules have.

    Modules are taken whole, in random order, while there is room; of the last one, random weights.
    """
    each = torch.tensor(sizes(params), device=chosen.device)
    order = rng.permutation("modules", len(each))
    ahead = (each[order].cumsum(0) - each[order])[order.argsort()]
    quota = torch.minimum(((each * chosen).sum() - ahead).clamp_min(0), each)
    masks: dict[str, Tensor] = {}
    for i, (module, names) in enumerate(by_module(params).items()):
        counts = [params[n].numel() for n in names]
        within = rng.permutation(f"weights of {module}", sum(counts)) < quota[i]
        masks |= {n: m.view_as(params[n]) for n, m in zip(names, torch.split(within, counts), strict=True)}
    return masks
