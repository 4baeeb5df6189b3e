"""What of a record is computed outside it: what is the same at every step of a loop, and random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from perdure.core.random import draw_bits
from perdure.engine.recording.passes import value, writes_unsaid

aten = torch.ops.aten


def set_apart(graph: fx.Graph, carried: int) -> fx.Graph:
    """Take out of a loop's record what is the same at every step, and return it as a record of its own.

    The first ``carried`` arguments and the last one differ between steps. The record that is returned takes
    the same arguments; its results become arguments of the loop's record, after those that it had.
    """
    places = graph.find_nodes(op="placeholder")
    varying = {*places[:carried], places[-1]}
    fixed = []
    for node in graph.nodes:
        if node.op == "call_function":
            inputs = node.all_input_nodes
            made_anew = all(used.op == "get_attr" for used in inputs)  # large constants are
            if made_anew or writes_unsaid(node) or not varying.isdisjoint(inputs):
                varying.add(node)
            else:
                fixed.append(node)
    stays = set(fixed)
    edge = [node for node in fixed if not stays.issuperset(node.users)]
    before = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in stays or node.op in ("placeholder", "get_attr"):
            copies[node] = before.node_copy(node, copies.__getitem__)
    before.output([copies[node] for node in edge])
    last = places[-1]
    for i, node in enumerate(edge):
        with graph.inserting_after(last):
            last = graph.placeholder(f"fixed{i}")
        last.meta = {"val": value(node)}
        node.replace_all_uses_with(last)
    for node in reversed(fixed):
        graph.erase_node(node)
    return before


@dataclass(frozen=True)
class Draw:
    """Random bits that a record takes as an argument, and what is done to each of them by itself.

    Parameters
    ----------
    seed:
        Place of the replicas' seeds among the arguments.
    purpose, n:
        What is drawn for, and how many words.
    then:
        Operations with the arguments behind the first.
    """

    seed: int
    purpose: int
    n: int
    then: tuple[tuple[Any, tuple[Any, ...], dict[str, Any]], ...]

    def made(self, seeds: Tensor, steps: Tensor) -> Tensor:
        """Return the argument for each of some steps ``[steps, 1]``, ``[steps, replicas, ...]``."""
        block = draw_bits(seeds, steps, self.purpose, self.n)
        for operation, args, options in self.then:
            if operation is aten.view.default:
                block = block.view(len(steps), *args[0])
            else:
                block = operation(block, *args, **options)
        return block


# Exact operations on each number by itself: done for many steps in one go, the bits are the same.
_EACH = {
    aten.__rshift__.Scalar, aten.mul.Tensor, aten.mul.Scalar, aten.add.Tensor, aten.sub.Tensor,
    aten.rsub.Scalar, aten.ge.Scalar, aten.gt.Scalar, aten.le.Scalar, aten.lt.Scalar,
}  # fmt: skip


def hoist_draws(graph: fx.Graph) -> list[Draw]:
    """Turn draws that depend on the replicas' seeds and the step alone into arguments, in order."""
    places = [node for node in graph.nodes if node.op == "placeholder"]
    draws: list[Draw] = []
    for node in list(graph.nodes):
        if node.target is not torch.ops.perdure.random_bits.default:
            continue
        seed, step, purpose, n = node.args
        if seed not in places or step not in places or value(seed).ndim != 1 or value(step).ndim != 0:
            continue
        chain = [node]
        while (after := _each_alone(chain[-1], len(value(seed)))) is not None:
            chain.append(after)
        with graph.inserting_after(([*places, *graph.find_nodes(op="placeholder")])[-1]):
            place = graph.placeholder(f"draw{len(draws)}")
        place.meta = {"val": value(chain[-1])}
        chain[-1].replace_all_uses_with(place)
        for done in reversed(chain):
            graph.erase_node(done)
        then = tuple((done.target, done.args[1:], dict(done.kwargs)) for done in chain[1:])
        draws.append(Draw(places.index(seed), purpose, n, then))
    return draws


def _each_alone(node: fx.Node, replicas: int) -> fx.Node | None:
    """Return the operation that alone reads a node, if it takes each number by itself."""
    after = next(iter(node.users))
    if len(node.users) > 1 or after.op != "call_function" or after.all_input_nodes != [node]:
        return None
    if after.args[0] is not node or any(isinstance(value(used), list) for used in (node, after)):
        return None
    if after.target is aten.view.default:
        return after if value(after).shape[:1] == (replicas,) else None
    if after.target is aten._to_copy.default:
        return after if set(after.kwargs) <= {"dtype"} else None
    return after if after.target in _EACH else None
