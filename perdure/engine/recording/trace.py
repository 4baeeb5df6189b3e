"""Record a mapped step once as a flat list of tensor operations, clean it, and run the list from then on.

A training step goes through ``grad`` inside ``vmap``: for a small model nearly all its time is spent in
those layers of Python, not in arithmetic. What reaches the kernels is recorded. The record needs no
autograd and no transforms, its constant work is dropped, and updates of the parameters are done in place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.random import draw_bits
from perdure.engine.flops import count_flops
from perdure.engine.recording import memory, passes
from perdure.engine.recording.code import compiled
from perdure.engine.recording.record import record

# Steps for which the random numbers are drawn in one go, and the bytes that they may take.
BLOCK, BLOCK_BYTES = 64, 1 << 24


class Traced:
    """A function of nested dictionaries of tensors, recorded for the shapes of its first arguments.

    Parameters
    ----------
    function:
        Pure; takes and returns nested dictionaries, lists and tuples of tensors.
    example:
        Arguments to record with. They are not changed.
    donate:
        Number of leading arguments that the caller gives up: their memory may be written on, and the
        results, which have the same structure, stand for them from then on.
    """

    def __init__(self, function: Callable[..., Any], example: tuple[Any, ...], donate: int = 0) -> None:
        flat, spec = pytree.tree_flatten(example)
        donated = len(pytree.tree_leaves(example[:donate]))
        out_spec: list[Any] = []

        def flat_function(*leaves: Tensor) -> list[Tensor]:
            out, tree = pytree.tree_flatten(function(*pytree.tree_unflatten(list(leaves), spec)))
            out_spec.append(tree)
            return out

        names = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(example)]
        constants, graph = record(flat_function, flat, names)
        graph = passes.clean(graph, constants)
        self.flops = count_flops(graph)
        if donated:
            memory.reuse_memory(graph, donated)
        self.draws = passes.hoist_draws(graph)
        memory.overwrite(graph)
        passes.shorten_calls(graph)
        self.graph, self.constants = graph, constants
        self._run = compiled(graph, constants)
        self._spec = out_spec[-1]
        self._block: list[Tensor] = []
        self._first, self._length = -1, 0
        # Nested arguments by place, with their tensors in order. They are never changed, only replaced.
        self._seen: dict[int, tuple[Any, list[Tensor]]] = {}
        self._in_place = donate == 1

    def __call__(self, *args: Any, step: int = 0) -> Any:
        """Run the record; ``step`` is the value of the step among the arguments, known to the host."""
        flat: list[Tensor] = []
        for place, arg in enumerate(args):
            flat += self._leaves(place, arg)
        if self.draws:
            flat += self._draw(flat, step)
        out = self._run(*flat)
        if self._in_place and all(map(operator.is_, out, flat)):
            return args[0]
        result = pytree.tree_unflatten(out, self._spec)
        if self._in_place:
            self._seen[0] = (result, out)
        return result

    def _leaves(self, place: int, arg: Any) -> list[Tensor]:
        """Return an argument's tensors; what was passed (or returned) last time is not walked again."""
        if isinstance(arg, Tensor):
            return [arg]
        seen = self._seen.get(place)
        if seen is None or seen[0] is not arg:
            seen = self._seen[place] = (arg, pytree.tree_leaves(arg))
        return seen[1]

    def forget(self) -> None:
        """Let go of the arguments of the last call, and of drawn numbers."""
        self._seen.clear()
        self._block, self._first = [], -1

    def _draw(self, flat: list[Tensor], step: int) -> list[Tensor]:
        if not self._first <= step < self._first + self._length or self._first < 0:
            if not self._length:
                self._length = _block_length(sum(len(flat[seed]) * n for seed, _, n in self.draws))
            self._first = step - step % self._length
            device = flat[self.draws[0][0]].device
            steps = torch.arange(self._first, self._first + self._length, device=device).unsqueeze(1)
            self._block = [draw_bits(flat[seed], steps, p, n) for seed, p, n in self.draws]
        return [block[step - self._first] for block in self._block]


def _block_length(words: int) -> int:
    """Return for how many steps to draw at a time, when a step takes so many words of 8 bytes."""
    return max(1, min(BLOCK, BLOCK_BYTES // (8 * words)))
