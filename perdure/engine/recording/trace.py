"""Record a mapped step once as a flat list of tensor operations, clean it, and run the list from then on.

A training step goes through ``grad`` inside ``vmap``: for a small model nearly all its time is spent in
those layers of Python, not in arithmetic. What reaches the kernels is recorded. The record needs no
autograd and no transforms, its constant work is dropped, and updates of the parameters are done in place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.engine.flops import count_flops
from perdure.engine.recording import hoisting, memory, passes
from perdure.engine.recording.code import compiled
from perdure.engine.recording.record import record
from perdure.engine.recording.scripted import OFTEN, scripted

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
    loops:
        The function returns what stands for its first argument, and a row; its last argument is the step. It
        is run by :meth:`loop`, and what the arguments between them determine is computed once for all steps.
    """

    def __init__(
        self, function: Callable[..., Any], example: tuple[Any, ...], donate: int = 0, loops: bool = False
    ) -> None:
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
        if loops:
            before = hoisting.set_apart(graph, donated)
            passes.shorten_calls(before)
            self._fixed, self._carried = compiled(before, constants), donated
        if donated:
            memory.reuse_memory(graph, donated)
        self.draws = hoisting.hoist_draws(graph)
        memory.overwrite(graph)
        passes.shorten_calls(graph)
        self.graph, self.constants = graph, constants
        self._run = compiled(graph, constants)
        self._donated, self._calls = donated, 0
        self._spec = out_spec[-1]
        self._block: list[Tensor] = []
        self._first, self._length = -1, 0
        # Nested arguments by place, with their tensors in order. They are never changed, only replaced.
        self._seen: dict[int, tuple[Any, list[Tensor]]] = {}
        self._in_place = donate == 1

    def __call__(self, *args: Any, step: int = 0, ahead: int | None = None) -> Any:
        """Run the record; ``step`` is the value of the step among the arguments, known to the host.

        Random numbers are drawn for many steps in one go; where only ``ahead`` follow from this one on, for
        no more than those.
        """
        flat: list[Tensor] = []
        for place, arg in enumerate(args):
            flat += self._leaves(place, arg)
        if self.draws:
            flat += self._draw(flat, step, ahead)
        out = self._called(flat)
        if self._in_place and all(map(operator.is_, out, flat)):
            return args[0]
        result = pytree.tree_unflatten(out, self._spec)
        if self._in_place:
            self._seen[0] = (result, out)
        return result

    def loop(
        self, carry: Any, shared: tuple[Any, ...], steps: Sequence[Tensor], first: int,
        look: Callable[[Any], None] | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Run ``carry, row = record(carry, *shared, step)`` for steps that count from ``first``.

        Returns what is carried, and the rows, with an axis of steps after the first one. ``look`` is shown
        what is carried after each step.
        """
        flat = pytree.tree_leaves(carry)
        held = [leaf for arg in shared for leaf in pytree.tree_leaves(arg)]
        fixed = self._fixed(*flat, *held, steps[0])
        rows = []
        for done, at in enumerate(steps):
            inputs = [*flat, *held, at, *fixed]
            if self.draws:
                inputs += self._draw(inputs, first + done, len(steps) - done)
            out = self._called(inputs)
            flat = out[: self._carried]
            rows.append(out[self._carried :])
            if look is not None:
                look(pytree.tree_unflatten(out, self._spec)[0])
        stacked = [torch.stack(some, 1) for some in zip(*rows, strict=True)]
        found: tuple[Any, Any] = pytree.tree_unflatten([*flat, *stacked], self._spec)
        return found

    def _called(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the record once; one that is run often is from then on run without Python."""
        self._calls += 1
        if self._calls == OFTEN:
            self._run = scripted(self._run, self.graph, inputs, self._donated) or self._run
        return self._run(*inputs)

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

    def _draw(self, flat: list[Tensor], step: int, ahead: int | None) -> list[Tensor]:
        if not self._first <= step < self._first + self._length or self._first < 0:
            most = _block_length(sum(len(flat[draw.seed]) * draw.n for draw in self.draws))
            self._length = most if ahead is None else min(most, ahead)
            self._first = step - step % most if ahead is None else step
            device = flat[self.draws[0].seed].device
            steps = torch.arange(self._first, self._first + self._length, device=device).unsqueeze(1)
            self._block = [draw.made(flat[draw.seed], steps) for draw in self.draws]
        return [block[step - self._first] for block in self._block]


def _block_length(words: int) -> int:
    """Return for how many steps to draw at a time, when a step takes so many words of 8 bytes."""
    return max(1, min(BLOCK, BLOCK_BYTES // (8 * words)))
