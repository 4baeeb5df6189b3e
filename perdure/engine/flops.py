"""Floating-point operations of the matrix products and convolutions of a record, or of what is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import flop_registry

from perdure.core.light import Light


def _convolution_backward(
    slope: Tensor, x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, wanted: Sequence[bool], *, out_val: Any,
) -> int:  # fmt: skip
    """Count the gradients of inputs and weights: each as much as the convolution, whatever the groups.

    Torch's own rule multiplies the weight's part by the number of groups.
    """
    places = x if transposed else slope
    return 2 * places.numel() * weight[0].numel() * sum(wanted[:2])


_RULES: dict[Any, Callable[..., int]] = {torch.ops.aten.convolution_backward: _convolution_backward}


def _rule(func: Any) -> Callable[..., int] | None:
    kind = getattr(func, "overloadpacket", None)
    return _RULES.get(kind, flop_registry.get(kind))


def count_flops(graph: fx.Graph) -> float:
    """Return the operations of a record."""
    total = 0.0
    for node in graph.nodes:
        rule = _rule(node.target)
        if rule is not None:
            args, kwargs = pytree.tree_map_only(
                fx.Node, lambda n: n.meta.get("val"), (node.args, node.kwargs)
            )
            total += float(rule(*args, **kwargs, out_val=node.meta.get("val")))
    return total


class CountFlops(Light):
    """Adds up the operations of what is run inside, in ``total``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        rule = _rule(func)
        if rule is not None:
            self.total += float(rule(*args, **(kwargs or {}), out_val=result))
        return result
