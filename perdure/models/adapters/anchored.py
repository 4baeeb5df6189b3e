"""A frozen convolutional net (the anchor) with a few tensors per task: filters, norms and a head."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from perdure.core.errors import PerdureError
from perdure.models.inspect import find_head

Variant = Literal["default", "full", "scalar"]
VARIANTS = ("default", "full", "scalar")
Place = str | os.PathLike[str]


class Reprogrammed(nn.Module):
    """A convolution, each of whose output channels is filtered by a kernel of its own.

    ``Y_k = K_k * X'_k`` with ``X' = W * X``: ``K`` is ``[channels, 1, size, size]``, with as many groups as
    channels, stride 1, zero padding and no bias. ``K`` starts as the identity of every channel.

    Parameters
    ----------
    conv:
        The convolution of the anchor.
    size:
        3, or 1 for one number per channel.
    """

    def __init__(self, conv: nn.Conv2d, size: int = 3) -> None:
        super().__init__()
        self.conv = conv
        kernel = torch.zeros(conv.out_channels, 1, size, size)
        kernel[:, :, size // 2, size // 2] = 1.0
        self.kernel = nn.Parameter(kernel.to(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, before, h, w]`` to what the convolution gives, channel by channel filtered."""
        kernel = self.kernel
        return nn.functional.conv2d(self.conv(x), kernel, padding=kernel.shape[-1] // 2, groups=len(kernel))


@dataclass(frozen=True)
class Layout:
    """Which tensors of a reprogrammed model belong to a task; all the others are the anchor.

    Parameters
    ----------
    kernels:
        Names of the filters behind the convolutions.
    norms:
        Names of the norm layers' affine parameters and running statistics.
    head:
        Names of the tensors of the last layer.
    """

    kernels: tuple[str, ...]
    norms: tuple[str, ...]
    head: tuple[str, ...]

    @property
    def deltas(self) -> tuple[str, ...]:
        """Names of all that a task owns."""
        return self.kernels + self.norms + self.head


def check_variant(variant: str) -> None:
    """Refuse a variant that does not exist."""
    if variant not in VARIANTS:
        raise PerdureError(f"variant must be one of {', '.join(VARIANTS)}; found {variant!r}")


def reprogram(model: nn.Module, variant: Variant = "default") -> nn.Module:
    """Return a copy of a convolutional net with a filter behind its convolutions; it answers as before.

    Parameters
    ----------
    model:
        Any net of ``nn.Conv2d`` layers whose last registered linear or convolution is its head.
    variant:
        ``"default"``: 3x3 filters behind the convolutions that are not 1x1; ``"full"``: behind all;
        ``"scalar"``: behind 1x1 convolutions one number per channel, 3x3 filters behind the others.
    """
    check_variant(variant)
    model = copy.deepcopy(model)
    wrappers = {id(conv): Reprogrammed(conv, size) for _, conv, size in _selected(model, variant)}
    if not wrappers:
        other = " that is not 1x1 (variant='full' takes those)" if variant == "default" else ""
        raise PerdureError(
            f"clr filters the channels of convolutions: give a model with a Conv2d{other}, such as "
            f"model='cnn' or model='resnet'; found none in {type(model).__name__}"
        )
    for parent in list(model.modules()):
        # Not `named_children`, which leaves out a layer that is there twice.
        for name, child in list(parent._modules.items()):
            if id(child) in wrappers:
                setattr(parent, name, wrappers[id(child)])
    return model


def layout(model: nn.Module) -> Layout:
    """Tell which tensors of a model that :func:`reprogram` made belong to a task."""
    kernels: list[str] = []
    norms: list[str] = []
    for name, part in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(part, Reprogrammed):
            kernels.append(f"{prefix}kernel")
        elif is_norm(part):
            own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
            norms += [f"{prefix}{k}" for k, _ in own]
    head, layer = head_of(model)
    return Layout(
        tuple(kernels), tuple(norms), tuple(f"{head}.{k}" for k, _ in layer.named_parameters(recurse=False))
    )


def plain_names(model: nn.Module) -> dict[str, str]:
    """Return what the tensors of a reprogrammed model, all but its filters, are called in the plain model."""
    names = {k: k for k in model.state_dict()}
    for name, part in model.named_modules():
        if isinstance(part, Reprogrammed):
            del names[f"{name}.kernel"]
            names |= {f"{name}.conv.{k}": f"{name}.{k}" for k in part.conv.state_dict()}
    return names


def is_norm(part: nn.Module) -> bool:
    """Tell whether a layer is a batch, instance, group or layer norm."""
    return isinstance(part, _NormBase | nn.GroupNorm | nn.LayerNorm)


def head_of(model: nn.Module) -> tuple[str, Any]:
    """Return the name and the layer of the last registered linear or convolution: the classifier."""
    name = find_head(model)
    if not name:
        raise PerdureError(f"expected a linear or convolutional head; found none in {type(model).__name__}")
    layer: Any = model.get_submodule(name)
    return name, layer


def _selected(model: nn.Module, variant: Variant) -> list[tuple[str, nn.Conv2d, int]]:
    """Return name, layer and filter size of the convolutions that get a filter: never the head."""
    convs = [(k, m) for k, m in model.named_modules() if k and isinstance(m, nn.Conv2d)]
    found, head = [], head_of(model)[1] if convs else None
    for name, conv in convs:
        pointwise = tuple(conv.kernel_size) == (1, 1)
        if conv is not head and not (pointwise and variant == "default"):
            found.append((name, conv, 1 if pointwise and variant == "scalar" else 3))
    return found


# ---- on disk ------------------------------------------------------------------------------------------


def load_deltas(model: nn.Module, path: Place) -> None:
    """Put what a file holds of one task into a reprogrammed model; the anchor stays as it is.

    Parameters
    ----------
    model:
        What :func:`reprogram` made of a plain model with the anchor's weights (:func:`load_anchor`), of the
        variant that the task was learned with.
    path:
        A file of :func:`perdure.strategies.adapters.clr.save_deltas`.
    """
    found, own = load_file(Path(path)), model.state_dict()
    check_alike({k: own[k] for k in layout(model).deltas}, found, f"the deltas in {path}")
    if extra := sorted(set(found) - set(layout(model).deltas)):
        raise PerdureError(f"the deltas in {path} must be those of this model; found {extra[0]!r} besides")
    model.load_state_dict(found, strict=False)


def load_anchor(model: nn.Module, path: Place) -> None:
    """Put pretrained weights (a state dictionary as safetensors) into a plain model, all but its head."""
    if not Path(path).is_file():
        raise PerdureError(f"anchor must be a safetensors file of the model's weights; found none at {path}")
    found, head = load_file(Path(path)), head_of(model)[0]
    # A layer that is there twice has its tensors once in the file.
    once = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    wanted = {k: v for k, v in model.state_dict().items() if k in once and k.rpartition(".")[0] != head}
    check_alike(wanted, found, f"the anchor in {path}")
    model.load_state_dict({k: found[k] for k in wanted}, strict=False)


def check_alike(wanted: dict[str, Tensor], found: dict[str, Tensor], what: str) -> None:
    """Refuse tensors whose names or shapes are not those wanted."""
    for k, v in wanted.items():
        if k not in found or found[k].shape != v.shape:
            there = f"one of shape {tuple(found[k].shape)}" if k in found else "none"
            raise PerdureError(f"{what} must hold {k!r} of shape {tuple(v.shape)}; found {there}")


# ---- how much -----------------------------------------------------------------------------------------


def parameter_count(
    model: nn.Module, variant: Variant = "default", outputs: int | None = None
) -> dict[str, Any]:
    """Count what a task adds to a plain (not yet reprogrammed) model.

    With the defaults: ``9 * sum(channels of the filtered convolutions) + 4 * sum(channels of the norms) +
    head``. ResNet-50 has 34,560 weights in 17 filters and 106,240 in its norms: 140,800, which is 0.599 % of
    its backbone of 23,508,032; ResNet-18 35,136 and 19,200: 54,336, 0.486 %.

    Parameters
    ----------
    model:
        The anchor.
    variant:
        As in :func:`reprogram`.
    outputs:
        Width of the task's head; ``None`` takes the model's.

    Returns
    -------
    dict
        ``layers`` (filtered convolutions), ``kernels``, ``norms`` (two affine vectors, two of running
        statistics; counters are left out), ``head``, ``backbone`` (weights of the model without its head),
        ``task`` (kernels and norms), ``share`` (``task / backbone``, as the paper states it).
    """
    check_variant(variant)
    chosen = _selected(model, variant)
    kernels = sum(conv.out_channels * size**2 for _, conv, size in chosen)
    norms = sum(
        v.numel()
        for part in model.modules()
        if is_norm(part)
        for v in (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if v.is_floating_point()
    )
    head = head_of(model)[1]
    width = head.weight.shape[0]
    per_output = sum(v.numel() for v in head.parameters(recurse=False)) // width
    backbone = sum(v.numel() for v in model.parameters()) - per_output * width
    return {
        "layers": len(chosen),
        "kernels": kernels,
        "norms": norms,
        "head": per_output * (width if outputs is None else outputs),
        "backbone": backbone,
        "task": kernels + norms,
        "share": (kernels + norms) / backbone,
    }
