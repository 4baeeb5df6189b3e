"""What is done to a record before it is run: passes over a list of tensor operations."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn

aten = torch.ops.aten

_SAME = {
    aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.detach.default,
    aten.alias.default, aten.reshape.default, aten.clone.default, aten.permute.default,
    aten.lift_fresh.default, aten.lift_fresh_copy.default,
}  # fmt: skip
# Bindings that take the operators' arguments as they are.
_FUNCTIONS = {
    aten.bmm.default: torch.bmm, aten.baddbmm.default: torch.baddbmm, aten.relu.default: torch.relu,
    aten.mul.Tensor: torch.mul, aten.add.Tensor: torch.add, aten.sub.Tensor: torch.sub,
    aten.div.Tensor: torch.div, aten.neg.default: torch.neg, aten.sum.dim_IntList: torch.sum,
    aten.index_select.default: torch.index_select, aten.gather.default: torch.gather,
    aten.scatter_add.default: torch.scatter_add, aten.clamp_min.default: torch.clamp_min,
    aten._log_softmax.default: torch._log_softmax, aten.addcmul.default: torch.addcmul,
    aten._log_softmax_backward_data.default: torch._log_softmax_backward_data,
    aten.argmax.default: torch.argmax, aten.eq.Tensor: torch.eq, aten.where.self: torch.where,
    aten.transpose.int: torch.transpose, aten.unsqueeze.default: torch.unsqueeze,
    aten.squeeze.dims: torch.squeeze, aten.squeeze.dim: torch.squeeze, aten.lerp.Scalar: torch.lerp,
    aten.tanh.default: torch.tanh, aten.exp.default: torch.exp, aten.log.default: torch.log,
    aten.sqrt.default: torch.sqrt, aten.abs.default: torch.abs, aten.sin.default: torch.sin,
    aten.cos.default: torch.cos, aten.pow.Tensor_Scalar: torch.pow, aten.rsub.Scalar: torch.rsub,
    aten.gt.Scalar: torch.gt, aten.gt.Tensor: torch.gt, aten.ge.Scalar: torch.ge,
    aten.ge.Tensor: torch.ge, aten.lt.Scalar: torch.lt, aten.lt.Tensor: torch.lt,
    aten.le.Scalar: torch.le, aten.le.Tensor: torch.le, aten.eq.Scalar: torch.eq,
    aten.mul.Scalar: torch.mul, aten.add.Scalar: torch.add, aten.div.Scalar: torch.div,
    aten.sub.Scalar: torch.sub, aten.clamp.default: torch.clamp, aten.minimum.default: torch.minimum,
    aten.maximum.default: torch.maximum, aten.cat.default: torch.cat, aten.stack.default: torch.stack,
    aten.unbind.int: torch.unbind, aten.select.int: torch.select, aten.cumsum.default: torch.cumsum,
    aten._softmax.default: torch._softmax, aten.masked_fill.Scalar: torch.masked_fill,
    aten.bitwise_or.Tensor: torch.bitwise_or, aten.bitwise_and.Tensor: torch.bitwise_and,
    aten.bitwise_not.default: torch.bitwise_not, aten.mean.dim: torch.mean,
    aten.linalg_vector_norm.default: torch.linalg.vector_norm,
}  # fmt: skip
_METHODS = {
    aten.view.default: "view", aten.expand.default: "expand", aten.addcmul_.default: "addcmul_",
    aten.baddbmm_.default: "baddbmm_", aten.add_.Tensor: "add_", aten.sub_.Tensor: "sub_",
    aten.mul_.Tensor: "mul_", aten.relu_.default: "relu_", aten.index_put_.default: "index_put_",
    aten.index_add_.default: "index_add_", aten.div_.Tensor: "div_", aten.neg_.default: "neg_",
    aten.abs_.default: "abs_", aten.pow_.Scalar: "pow_", aten.sqrt_.default: "sqrt_",
    aten.addcdiv_.default: "addcdiv_", aten.lerp_.Scalar: "lerp_", aten.tanh_.default: "tanh_",
    aten.index_copy_.default: "index_copy_", aten.exp_.default: "exp_", aten.clamp_min_.default: "clamp_min_",
}  # fmt: skip


def value(node: Any) -> Any:
    """Shape, strides and type of a node's tensor, as the recorder noted them."""
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def same_layout(a: fx.Node, b: fx.Node) -> bool:
    """Tell whether two nodes' tensors have the same shape, strides and type."""
    x, y = value(a), value(b)
    return (
        isinstance(x, Tensor)
        and isinstance(y, Tensor)
        and x.shape == y.shape
        and x.stride() == y.stride()
        and x.dtype == y.dtype
    )


def _same_memory(a: fx.Node, b: fx.Node) -> bool:
    """Tell whether two nodes' tensors read the same memory alike: strides of axes of 1 do not count."""
    x, y = value(a), value(b)
    return (
        isinstance(x, Tensor)
        and isinstance(y, Tensor)
        and x.shape == y.shape
        and x.dtype == y.dtype
        and all(
            size == 1 or one == other
            for size, one, other in zip(x.shape, x.stride(), y.stride(), strict=True)
        )
    )


def _simpler(node: fx.Node, graph: fx.Graph, neutral: dict[Any, set[fx.Node]]) -> fx.Node | None:
    """Return a cheaper node for the same value, or None.

    ``neutral`` holds constants that change nothing: ones that are multiplied with, negative zeros that are
    added (a positive one makes 0.0 of -0.0).
    """
    target, args = node.target, node.args
    if target in neutral and not node.kwargs and not neutral[target].isdisjoint(args):
        other = args[1] if args[0] in neutral[target] else args[0]
        return other if isinstance(other, fx.Node) and same_layout(node, other) else None
    if target in _SAME and isinstance(args[0], fx.Node) and _same_memory(node, args[0]):
        # Copies are dropped too: nothing in a record writes on a tensor until `reuse_memory` decides.
        return args[0]
    if target in (aten.mul.Scalar, aten.mul.Tensor, aten.div.Scalar, aten.div.Tensor) and args[1] == 1:
        source = args[0]
        return source if isinstance(source, fx.Node) and same_layout(node, source) else None
    if target is aten.transpose.int and isinstance(args[0], fx.Node) and args[0].target is aten.transpose.int:
        source = args[0].args[0]
        return source if isinstance(source, fx.Node) and same_layout(node, source) else None
    if target is aten.add.Tensor and not node.kwargs:
        return _fuse_bias(node, graph)
    return None


def _fuse_bias(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Turn ``bias + bmm(a, b)`` into ``baddbmm(bias, a, b)``: one pass over the activations less."""
    for product, bias in (node.args, node.args[::-1]):
        if (
            isinstance(product, fx.Node)
            and isinstance(bias, fx.Node)
            and product.target is aten.bmm.default
            and len(product.users) == 1
            and isinstance(value(bias), Tensor)
            and value(bias).ndim == 3
            and value(bias).shape[1] == 1
            and value(bias).dtype == value(product).dtype
            and value(node).shape == value(product).shape
        ):
            with graph.inserting_before(node):
                fused = graph.call_function(aten.baddbmm.default, (bias, *product.args))
            fused.meta = dict(node.meta)
            return fused
    return None


def clean(graph: fx.Graph, constants: nn.Module) -> fx.Graph:
    """Drop what does nothing, share what is computed twice, and fuse biases."""
    held = {node: getattr(constants, str(node.target)) for node in graph.nodes if node.op == "get_attr"}
    neutral = {
        aten.mul.Tensor: {node for node, value in held.items() if is_all(value, 1)},
        aten.add.Tensor: {node for node, value in held.items() if is_all(value, -0.0)},
    }
    # What an operation writes on without a word must stay a tensor of its own: no copy is dropped or shared.
    whole = {aten.clone.default} if any(writes_unsaid(node) for node in graph.nodes) else set()
    for _ in range(2):
        for node in list(graph.nodes):
            if node.op != "call_function" or node.target in whole:
                continue
            if (better := _simpler(node, graph, neutral)) is not None:
                node.replace_all_uses_with(better)
        _drop_unused(graph)
        _share(graph, whole)
    return graph


def is_all(value: Tensor, number: float) -> bool:
    """Tell whether a constant holds nothing but a number; one that has no values is not known to."""
    return (
        type(value) is Tensor
        and not value.is_meta
        and value.is_floating_point()
        and bool((value == number).all())
        and bool((value.signbit() == (math.copysign(1, number) < 0)).all())
    )


def _drop_unused(graph: fx.Graph) -> None:
    """Drop operations whose results nobody reads."""
    for node in reversed(graph.nodes):
        if not node.users and node.op in ("call_function", "get_attr") and not writes_unsaid(node):
            graph.erase_node(node)


def writes_unsaid(node: fx.Node) -> bool:
    """Tell whether an operation writes on running statistics, which batch norms do without declaring it."""
    return node.op == "call_function" and _writes_statistics(node.target)


@cache  # Asked for every node of every record.
def _writes_statistics(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or any(word in schema.name for word in ("backward", "no_training", "functional")):
        return False
    return any(argument.name.startswith("running_") for argument in schema.arguments)


def _share(graph: fx.Graph, whole: set[Any]) -> None:
    """Compute once what is computed twice: the same operation of the same arguments."""
    first: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target in whole or writes_unsaid(node):
            continue
        before = first.setdefault((node.target, _key(node.args), _key(node.kwargs)), node)
        if before is not node:
            node.replace_all_uses_with(before)
            graph.erase_node(node)


def _key(value: Any) -> Any:
    """Return what is equal for equal arguments only: 1, 1.0 and True are not, nor 0.0 and -0.0."""
    if isinstance(value, fx.Node):
        return value
    if isinstance(value, list | tuple):
        return tuple(_key(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, _key(v)) for k, v in sorted(value.items()))
    return type(value), repr(value)


def shorten_calls(graph: fx.Graph) -> None:
    """Call torch's own bindings instead of the operator table: less Python around each small kernel."""
    for node in graph.nodes:
        if node.target in _FUNCTIONS:
            node.target = _FUNCTIONS[node.target]
        elif node.target in _METHODS and isinstance(node.args[0], fx.Node):
            node.op, node.target = "call_method", _METHODS[node.target]
    graph.lint()
