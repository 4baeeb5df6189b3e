"""Low-rank adapters: small trained products beside the frozen weights of any model.

What the strategies ``lora``, ``o-lora``, ``inflora`` and ``sd-lora`` share: which layers are adapted, the
parametrisation, the names of what it trains, and how to fold it back into plain weights.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from perdure.core.batch import Params
from perdure.core.errors import PerdureError, check_pattern
from perdure.models.inspect import find_head

LAYERS = (nn.Linear, nn.Conv2d)
HEAD = "gives_outputs"  # the mark on the layer that is the head, which moves with it into whatever wraps it

Targets = str | Sequence[str] | None


class LowRank(nn.Module):
    """Computes ``W = W0 + scale * sum_s m_s up_s down_s`` from a frozen weight W0; of no effect at first.

    A convolution's weight ``[o, i, kh, kw]`` is the matrix ``o x (i kh kw)``.

    Parameters
    ----------
    weight:
        The weight W0, for its shape and type.
    rank, slots:
        Rank r of each product, and how many there are: ``down`` is ``[slots, r, in]``, drawn as torch draws a
        linear layer (uniform in ``+-1 / sqrt(in)``), ``up`` is ``[slots, out, r]``, zero.
    scale:
        Factor of all of them.
    magnitude:
        Where the trained factors ``m_s``, ``[slots]``, start; ``None``: there are none.
    """

    magnitude: nn.Parameter | None

    def __init__(
        self, weight: Tensor, rank: int, slots: int = 1, scale: float = 1.0, magnitude: float | None = None
    ) -> None:
        super().__init__()
        out, width = weight.flatten(1).shape
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(slots, rank, width).uniform_(-1, 1) / width**0.5)
        self.up = nn.Parameter(weight.new_zeros(slots, out, rank))
        start = None if magnitude is None else nn.Parameter(weight.new_full((slots,), magnitude))
        self.register_parameter("magnitude", start)

    def forward(self, base: Tensor) -> Tensor:
        """Add the products to the frozen weight."""
        return base + product(self.down, self.up, self.magnitude, self.scale).view(base.shape)


def product(down: Tensor, up: Tensor, magnitude: Tensor | None, scale: float) -> Tensor:
    """Return ``scale * sum_s m_s up_s down_s``, ``[out, in]``."""
    up = up if magnitude is None else up * magnitude.view(-1, 1, 1)
    return scale * (up.transpose(0, 1).flatten(1) @ down.flatten(0, 1))


# ---- which layers -------------------------------------------------------------------------------------


def head_of(model: nn.Module, outputs: int) -> str | None:
    """Return the name of the layer that gives the outputs: the last one of that width, or at all.

    ``None`` for a model that says that it has none (``headless``, as a matcher of names does).
    """
    fitting = find_head(model, outputs)
    head = find_head(model) if fitting is None else fitting
    if head is None and not getattr(model, "headless", False):
        raise PerdureError(
            f"expected a model with a linear or convolutional head; found {type(model).__name__} without one"
        )
    return head


def find_targets(model: nn.Module, outputs: int, targets: Targets = None) -> dict[str, Any]:
    """Return the linear layers and 2-d convolutions to adapt, by name: never the head.

    Parameters
    ----------
    model, outputs:
        The model and its number of outputs.
    targets:
        ``None`` for all; a regular expression that whole names match (``".*(query|value)"``); or names, whole
        or what follows a dot (``["query", "value"]``).
    """
    found = {p: m for p, m in model.named_modules() if isinstance(m, LAYERS)}
    head = head_of(model, outputs)
    chosen = {p: m for p, m in found.items() if p != head and _wanted(p, targets)}
    if not chosen:
        there = ", ".join(map(repr, (p for p in found if p != head))) or "none"
        asked = "a linear layer or convolution" if targets is None else f"a layer that {targets!r} names"
        raise PerdureError(f"low-rank adapters need {asked} besides the head {head!r}; found {there}")
    return chosen


def check_targets(targets: Targets) -> None:
    """Refuse targets that are neither a regular expression nor names."""
    if isinstance(targets, str):
        check_pattern(targets, "targets, if no list of names,")
    elif targets is not None and not all(isinstance(name, str) for name in targets):
        raise PerdureError(f"targets must be a regular expression or names; found {targets!r}")


def _wanted(path: str, targets: Targets) -> bool:
    if targets is None:
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, path) is not None
    return any(path == name or path.endswith(f".{name}") for name in targets)


def adapt(
    model: nn.Module, outputs: int, rank: int, slots: int = 1, *, targets: Targets = None,
    scale: float = 1.0, magnitude: float | None = None, frozen: bool = False,
) -> nn.Module:  # fmt: skip
    """Return a copy of a model with a :class:`LowRank` on the weight of each target; outputs stay the same.

    Parameters
    ----------
    model, outputs, targets:
        As in :func:`find_targets`.
    rank, slots, scale, magnitude:
        As in :class:`LowRank`.
    frozen:
        Whether all but the adapters and the head need no gradient.

    Raises
    ------
    PerdureError
        Where a weight is shared or computed already, or of a smaller rank than asked for.
    """
    model = copy.deepcopy(model)
    chosen, head = find_targets(model, outputs, targets), head_of(model, outputs)
    owners = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    for path, layer in chosen.items():
        if parametrize.is_parametrized(layer) or owners.count(id(layer.weight)) > 1:
            raise PerdureError(f"low-rank adapters need plain weights; {path}.weight is shared or computed")
        widest = min(layer.weight.flatten(1).shape)
        if rank > widest:
            raise PerdureError(
                f"rank must be at most {widest}, the smaller side of {path}.weight; found {rank}: "
                "choose a smaller one, or other targets"
            )
    if frozen:
        model.requires_grad_(False)
    if head is not None:
        model.get_submodule(head).requires_grad_(True)
        setattr(model.get_submodule(head), HEAD, True)
    for layer in chosen.values():
        adapter = LowRank(layer.weight.detach(), rank, slots, scale, magnitude)
        parametrize.register_parametrization(layer, "weight", adapter)
    return model


# ---- what an adapted model is made of -----------------------------------------------------------------


def adapters(model: nn.Module) -> dict[str, LowRank]:
    """Return the adapters of a model, by the name of their layer."""
    end = ".parametrizations.weight.0"
    parts = {f".{p}": m for p, m in model.named_modules() if isinstance(m, LowRank)}
    return {p.removesuffix(end).removeprefix("."): m for p, m in parts.items()}


def key(path: str, part: str) -> str:
    """Return the name of a tensor of a layer's adapter: ``down``, ``up``, ``magnitude`` or ``base`` (W0)."""
    name = "original" if part == "base" else f"0.{part}"
    return f"{path}.parametrizations.weight.{name}".lstrip(".")


def names(model: nn.Module) -> set[str]:
    """Return the names of all tensors of adapters."""
    return {key(p, part) for p, m in adapters(model).items() for part, _ in m.named_parameters()}


def head_names(model: nn.Module) -> set[str]:
    """Return the names of the tensors of the head of a model that :func:`adapt` made."""
    marked = [(p, m) for p, m in model.named_modules() if getattr(m, HEAD, False)]
    return {f"{p}.{k}".lstrip(".") for p, m in marked for k, _ in m.named_parameters()}


def delta(model: nn.Module, tensors: Mapping[str, Tensor], path: str) -> Tensor:
    """Return what a layer's adapter adds to its weight, ``[out, in]``."""
    part = adapters(model)[path]
    magnitude = None if part.magnitude is None else tensors[key(path, "magnitude")]
    return product(tensors[key(path, "down")], tensors[key(path, "up")], magnitude, part.scale)


def merge(model: nn.Module, tensors: Mapping[str, Tensor]) -> Params:
    """Return the tensors of the plain model that computes the same: adapters are added to the weights.

    Parameters
    ----------
    model:
        A model that :func:`adapt` made.
    tensors:
        Its parameters and buffers, of one replica: ``{**trained.buffers(k), **trained.params(k)}``.
    """
    plain = {k: v for k, v in tensors.items() if ".parametrizations." not in f".{k}"}
    for path in adapters(model):
        base = tensors[key(path, "base")]
        plain[f"{path}.weight".lstrip(".")] = base + delta(model, tensors, path).view(base.shape)
    return plain


def parameter_count(model: nn.Module, outputs: int, rank: int, targets: Targets = None) -> int:
    """Return how many numbers one adapter of each target has: the sum of ``rank * (in + out)``."""
    layers = find_targets(model, outputs, targets).values()
    return sum(rank * sum(m.weight.flatten(1).shape) for m in layers)


# ---- one slot per task --------------------------------------------------------------------------------


def keep_own(model: nn.Module, values: Params, current: Tensor, others: Params | None = None) -> Params:
    """Return values of which ``down`` and ``up`` are taken in the slot of the current task only.

    Parameters
    ----------
    model:
        A model that :func:`adapt` made with a slot per task.
    values:
        Parameters, or their gradients (which may have a leading axis).
    current:
        The task, a 0-d tensor.
    others:
        What the other slots hold; ``None``: 0.
    """
    new = dict(values)
    for path in adapters(model):
        for name in (key(path, "down"), key(path, "up")):
            if name in values:
                own = torch.arange(values[name].shape[-3], device=current.device) == current
                rest = torch.zeros_like(values[name]) if others is None else others[name]
                new[name] = torch.where(own.view(-1, 1, 1), values[name], rest)
    return new
