"""Which memory the values of a record are in, and which are written over what nobody reads any more."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from perdure.engine.recording.passes import same_layout, value

aten = torch.ops.aten


def relu_backward_(grad: Tensor, output: Tensor, threshold: float) -> Tensor:
    """Write the gradient behind a ReLU over the one before it: torch has no in-place name for that."""
    return aten.threshold_backward.grad_input(grad, output, threshold, grad_input=grad)  # type: ignore[no-any-return]


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
    aten.threshold_backward.default: relu_backward_,
}
_UPDATES = {*_IN_PLACE.values(), aten.baddbmm_.default}
# Elementwise operations, and the places of operands that the result may be written over.
_OVER = {
    aten.add.Tensor: (0, 1), aten.mul.Tensor: (0, 1), aten.sub.Tensor: (0,), aten.div.Tensor: (0,),
    aten.neg.default: (0,), aten.abs.default: (0,), aten.pow.Tensor_Scalar: (0,), aten.sqrt.default: (0,),
    aten.relu.default: (0,), aten.addcmul.default: (0,), aten.addcdiv.default: (0,), aten.lerp.Scalar: (0,),
    aten.threshold_backward.default: (0,),
}  # fmt: skip


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
        chain = _from_place(result, place, last_use, order, owner)
        if (
            chain
            and last_use.get(place, -1) == order[chain[-1]]
            and not held & {place, *(owner[made] for made in chain[1:])}
            and not any(a is not place and owner.get(a) is place for a in chain[-1].all_input_nodes)
        ):
            for made in chain:
                made.target = _IN_PLACE[made.target]  # type: ignore[index, assignment]
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


def _from_place(
    result: fx.Node, place: fx.Node, last_use: dict[fx.Node, int], order: dict[fx.Node, int],
    owner: dict[fx.Node, fx.Node],
) -> list[fx.Node]:  # fmt: skip
    """Return the operations that make a result of an argument, the last first.

    Empty where there are none: of each, the first operand is what the one before it made, which nothing reads
    later, or as another operand.
    """
    chain, node = [], result
    while node.op == "call_function" and node.target in _IN_PLACE and same_layout(place, node):
        chain.append(node)
        before = node.args[0]
        if before is place:
            return chain
        if not isinstance(before, fx.Node) or owner[before] is not before:
            return []
        beside = [one for one in node.all_input_nodes if one is not before and owner[one] is before]
        if beside or last_use[before] != order[node]:
            return []
        node = before
    return []


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
        or tuple(value(rate).shape[1:]) != (1, 1)
        or value(product).shape != value(update).shape
    ):
        return update
    a, b = product.args
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node) or {owner[a], owner[b]} & set(written):
        return update
    with graph.inserting_before(update):
        scaled = graph.call_function(aten.mul.Tensor, (a, rate))
        fused = graph.call_function(aten.baddbmm_.default, (place, scaled, b), {"alpha": scale})
    scaled.meta, fused.meta = {"val": value(a)}, dict(update.meta)
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
                and same_layout(node, source)
                and (root := memory(source)).op == "call_function"
                and last_use[root] == order[node]
                and not any(isinstance(other, fx.Node) and memory(other) is root for other in others)
            ):
                node.target, node.args = _IN_PLACE[node.target], (source, *others)
                over[owner[node]], last_use[root] = root, last_use.get(owner[node], order[node])
                break
