"""What is done to a record before it is run: passes over a list of tensor operations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

aten = torch.ops.aten

_SAME = {
    aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.detach.default,
    aten.alias.default, aten.reshape.default, aten.clone.default, aten.permute.default,
    aten.lift_fresh.default, aten.lift_fresh_copy.default,
}  # fmt: skip
_IN_PLACE = {
    aten.add.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub_.Tensor,
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.addcmul.default: aten.addcmul_.default,
    aten.addcdiv.default: aten.addcdiv_.default,
    aten.lerp.Scalar: aten.lerp_.Scalar,
    aten.index_put.default: aten.index_put_.default,
    aten.scatter.src: aten.scatter_.src,
    aten.scatter.value: aten.scatter_.value,
    aten.index_copy.default: aten.index_copy_.default,
    aten.index_add.default: aten.index_add_.default,
    aten.div.Tensor: aten.div_.Tensor,
    aten.neg.default: aten.neg_.default,
    aten.abs.default: aten.abs_.default,
    aten.pow.Tensor_Scalar: aten.pow_.Scalar,
    aten.sqrt.default: aten.sqrt_.default,
    aten.relu.default: aten.relu_.default,
}
_UPDATES = {*_IN_PLACE.values(), aten.baddbmm_.default}
# Elementwise operations, and the places of operands that the result may be written over.
_OVER = {
    aten.add.Tensor: (0, 1), aten.mul.Tensor: (0, 1), aten.sub.Tensor: (0,), aten.div.Tensor: (0,),
    aten.neg.default: (0,), aten.abs.default: (0,), aten.pow.Tensor_Scalar: (0,), aten.sqrt.default: (0,),
    aten.relu.default: (0,), aten.addcmul.default: (0,), aten.addcdiv.default: (0,), aten.lerp.Scalar: (0,),
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
    aten.squeeze.dims: torch.squeeze, aten.lerp.Scalar: torch.lerp,
}  # fmt: skip
_METHODS = {
    aten.view.default: "view", aten.expand.default: "expand", aten.addcmul_.default: "addcmul_",
    aten.baddbmm_.default: "baddbmm_", aten.add_.Tensor: "add_", aten.sub_.Tensor: "sub_",
    aten.mul_.Tensor: "mul_", aten.relu_.default: "relu_", aten.index_put_.default: "index_put_",
    aten.index_add_.default: "index_add_", aten.div_.Tensor: "div_", aten.neg_.default: "neg_",
    aten.abs_.default: "abs_", aten.pow_.Scalar: "pow_", aten.sqrt_.default: "sqrt_",
    aten.addcdiv_.default: "addcdiv_", aten.lerp_.Scalar: "lerp_",
}  # fmt: skip


def _value(node: Any) -> Any:
    """Shape, strides and type of a node's tensor, as the recorder noted them."""
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def _same_layout(a: fx.Node, b: fx.Node) -> bool:
    x, y = _value(a), _value(b)
    return (
        isinstance(x, Tensor)
        and isinstance(y, Tensor)
        and x.shape == y.shape
        and x.stride() == y.stride()
        and x.dtype == y.dtype
    )


def _simpler(node: fx.Node, graph: fx.Graph, neutral: dict[Any, set[fx.Node]]) -> fx.Node | None:
    """Return a cheaper node for the same value, or None.

    ``neutral`` holds constants that change nothing: ones that are multiplied with, negative zeros that are
    added (a positive one makes 0.0 of -0.0).
    """
    target, args = node.target, node.args
    if target in neutral and not node.kwargs and not neutral[target].isdisjoint(args):
        other = args[1] if args[0] in neutral[target] else args[0]
        return other if isinstance(other, fx.Node) and _same_layout(node, other) else None
    if target in _SAME and isinstance(args[0], fx.Node) and _same_layout(node, args[0]):
        # Copies are dropped too: nothing in a record writes on a tensor until `reuse_memory` decides.
        return args[0]
    if target in (aten.mul.Scalar, aten.mul.Tensor, aten.div.Scalar, aten.div.Tensor) and args[1] == 1:
        source = args[0]
        return source if isinstance(source, fx.Node) and _same_layout(node, source) else None
    if target is aten.transpose.int and isinstance(args[0], fx.Node) and args[0].target is aten.transpose.int:
        source = args[0].args[0]
        return source if isinstance(source, fx.Node) and _same_layout(node, source) else None
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
            and isinstance(_value(bias), Tensor)
            and _value(bias).ndim == 3
            and _value(bias).shape[1] == 1
            and _value(bias).dtype == _value(product).dtype
            and _value(node).shape == _value(product).shape
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
    whole = {aten.clone.default} if any(_writes_unsaid(node) for node in graph.nodes) else set()
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
    """Tell whether a constant holds nothing but a number; one that is not computed, fake, is not known to."""
    return (
        type(value) is Tensor
        and value.is_floating_point()
        and bool((value == number).all())
        and bool((value.signbit() == (math.copysign(1, number) < 0)).all())
    )


def _drop_unused(graph: fx.Graph) -> None:
    """Drop operations whose results nobody reads."""
    for node in reversed(graph.nodes):
        if not node.users and node.op in ("call_function", "get_attr") and not _writes_unsaid(node):
            graph.erase_node(node)


def _writes_unsaid(node: fx.Node) -> bool:
    """Tell whether an operation writes on running statistics, which batch norms do without declaring it."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or any(word in schema.name for word in ("backward", "no_training", "functional")):
        return False
    return any(argument.name.startswith("running_") for argument in schema.arguments)


def _share(graph: fx.Graph, whole: set[Any]) -> None:
    """Compute once what is computed twice: the same operation of the same arguments."""
    first: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target in whole or _writes_unsaid(node):
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


def _roots(graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """Map every node whose value is in another's memory to the owner of that memory, as recorded."""
    owner: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        place = node.meta.get("view_of")
        source = None if place is None else node.args[place]
        owner[node] = owner[source] if isinstance(source, fx.Node) else node
    return owner


def reuse_memory(graph: fx.Graph, donated: int) -> None:
    """Write each new value of a donated argument over the old one, where nothing reads the old one later.

    Results that share memory with another result or with another argument are copied: the caller holds
    them beside each other, and the next call may write on one of them.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    places = [node for node in graph.nodes if node.op == "placeholder"]
    output = next(node for node in graph.nodes if node.op == "output")
    results = list(output.args[0])
    owner = _roots(graph)
    last_use: dict[fx.Node, int] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            if node is not output:
                last_use[owner[used]] = max(last_use.get(owner[used], -1), order[node])
    held = {owner[r] for r in results if isinstance(r, fx.Node)}
    for place, result in zip(places[:donated], results[:donated], strict=True):
        if (
            result.op == "call_function"
            and result.target in _IN_PLACE
            and result.args[0] is place
            and last_use.get(place, -1) == order[result]
            and place not in held
            and not any(a is not result.args[0] and owner.get(a) is place for a in result.all_input_nodes)
            and _same_layout(place, result)
        ):
            result.target = _IN_PLACE[result.target]
            results[results.index(result)] = _fuse_update(result, graph, owner, places[:donated])
    owner = _roots(graph)
    taken: set[fx.Node] = set()
    for i, result in enumerate(results):
        root = owner[result]
        same_place = i < donated and result is places[i]
        if root in taken or (root.op in ("placeholder", "get_attr") and not same_place):
            with graph.inserting_before(output):
                results[i] = graph.call_function(aten.clone.default, (result,))
        taken.add(root)
    output.args = (results,)
    graph.lint()


def _fuse_update(
    update: fx.Node, graph: fx.Graph, owner: dict[fx.Node, fx.Node], written: list[fx.Node]
) -> fx.Node:
    """Turn ``p += value * s * bmm(a, b)`` into one product that adds to ``p``: the gradient is never stored.

    A plain step of gradient descent then reads and writes the weights once. ``s`` is the rate of each
    replica; it is multiplied into ``a``, which is smaller than the weights by far. The product moves to
    the place of the update: it must not read what an update before it may have written.
    """
    if update.target is not aten.addcmul_.default:
        return update
    place, product, rate = update.args
    scale = update.kwargs.get("value", 1)
    if (
        not isinstance(product, fx.Node)
        or product.target is not aten.bmm.default
        or len(product.users) > 1
        or tuple(_value(rate).shape[1:]) != (1, 1)
        or _value(product).shape != _value(update).shape
    ):
        return update
    a, b = product.args
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node) or {owner[a], owner[b]} & set(written):
        return update
    with graph.inserting_before(update):
        scaled = graph.call_function(aten.mul.Tensor, (a, rate))
        fused = graph.call_function(aten.baddbmm_.default, (place, scaled, b), {"alpha": scale})
    scaled.meta, fused.meta = {"val": _value(a)}, dict(update.meta)
    update.replace_all_uses_with(fused)
    graph.erase_node(update)
    graph.erase_node(product)
    return fused


def overwrite(graph: fx.Graph) -> None:
    """Write results of elementwise operations over an operand that nothing reads any more.

    The numbers are the same, and they stay in the processor's cache: for the weights of eighty replicas that
    halves the time. Arguments of the record, constants and results are left alone.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    owner: dict[fx.Node, fx.Node] = {}
    for node, source in _roots(graph).items():
        updated = node.args[0] if node.target in _UPDATES else source
        owner[node] = owner.get(updated, node) if isinstance(updated, fx.Node) else node
    last_use: dict[fx.Node, int] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last_use[owner[used]] = order[node]
    over: dict[fx.Node, fx.Node] = {}

    def memory(node: fx.Node) -> fx.Node:
        root = owner[node]
        while root in over:
            root = over[root]
        return root

    for node in graph.nodes:
        for place in _OVER.get(node.target, ()) if not node.kwargs else ():
            source, others = node.args[place], [a for i, a in enumerate(node.args) if i != place]
            if (
                isinstance(source, fx.Node)
                and _same_layout(node, source)
                and (root := memory(source)).op == "call_function"
                and last_use[root] == order[node]
                and not any(isinstance(other, fx.Node) and memory(other) is root for other in others)
            ):
                node.target, node.args = _IN_PLACE[node.target], (source, *others)
                over[owner[node]], last_use[root] = root, last_use.get(owner[node], order[node])
                break


def shorten_calls(graph: fx.Graph) -> None:
    """Call torch's own bindings instead of the operator table: less Python around each small kernel."""
    for node in graph.nodes:
        if node.target in _FUNCTIONS:
            node.target = _FUNCTIONS[node.target]
        elif node.target in _METHODS and isinstance(node.args[0], fx.Node):
            node.op, node.target = "call_method", _METHODS[node.target]
    graph.lint()


def hoist_draws(graph: fx.Graph) -> list[tuple[int, int, int]]:
    """Turn draws that depend on the replicas' seeds and the step alone into arguments.

    Returns for each (in order) the position of the seeds among the arguments, the purpose and the count.
    """
    places = [node for node in graph.nodes if node.op == "placeholder"]
    draws: list[tuple[int, int, int]] = []
    for node in list(graph.nodes):
        if node.target is not torch.ops.perdure.random_bits.default:
            continue
        seed, step, purpose, n = node.args
        if seed not in places or step not in places or _value(seed).ndim != 1 or _value(step).ndim != 0:
            continue
        with graph.inserting_after(([*places, *graph.find_nodes(op="placeholder")])[-1]):
            place = graph.placeholder(f"draw{len(draws)}")
        node.replace_all_uses_with(place)
        graph.erase_node(node)
        draws.append((places.index(seed), purpose, n))
    return draws
