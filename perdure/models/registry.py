"""The table of models: each entry builds a function of ``(input_shape, outputs)``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, shown
from perdure.core.memory_limit import check_bytes
from perdure.core.registry import Registry

Builder = Callable[[tuple[int, ...], int], nn.Module]

MODELS: Registry[Builder] = Registry("model", "perdure.models")
MOST_LAYERS = 1000


def get(spec: str) -> Builder:
    """Return the builder that ``"mlp(hidden=[64, 64])"`` names."""
    return MODELS.get(spec)


def check_widths(name: str, widths: Sequence[int] | int) -> Sequence[int]:
    """Return the widths of layers, a single one as a list; refuse those below 1, and too many layers."""
    widths = [widths] if isinstance(widths, int) else widths
    check_whole(f"the number of {name} layers", len(widths), 0, MOST_LAYERS)
    if any(width < 1 for width in widths):
        raise PerdureError(f"{name} must be positive widths; found {shown(widths)}")
    return widths


def sized(name: str, build: Builder) -> Builder:
    """Return the builder with its weights counted before they are allocated."""

    @functools.cache
    def check(shape: tuple[int, ...], outputs: int) -> None:
        try:
            with torch.device("meta"):
                count = sum(p.numel() for p in build(shape, outputs).parameters())
        except RuntimeError as error:  # more than 64 bits count
            raise PerdureError(f"the model {name} has more weights than can be counted: {error}") from None
        check_bytes(f"the model {name}", 4 * count)

    @functools.wraps(build)
    def checked_build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        check(tuple(shape), outputs)
        return build(shape, outputs)

    return checked_build
