"""Run a function once and keep what reached the kernels, as a list of tensor operations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize

from perdure.core.errors import PerdureError
from perdure.core.light import Light

aten = torch.ops.aten
# Constants of at most so many bytes are held.
HELD_BYTES = 1 << 20
_OF_SHAPES = {
    aten.zeros_like.default, aten.ones_like.default, aten.full_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default,
}  # fmt: skip
_INDEXING = (aten.index.Tensor, aten._unsafe_index.Tensor)


def record(
    function: Callable[..., list[Tensor]], leaves: Sequence[Tensor], names: Sequence[str]
) -> tuple[nn.Module, fx.Graph]:
    """Record a function of tensors: the operations below all transforms, and the constants that they read.

    The function runs once, on its arguments, which it leaves as they are. In-place operations (of a user's
    model, say) are recorded as what they compute. A node's ``meta["val"]`` has its shape, strides and
    type, ``meta["view_of"]`` the place of the argument whose memory it is in.

    Parameters
    ----------
    function:
        Takes the tensors and returns a list of tensors.
    leaves, names:
        The tensors to record with, and what messages call them.

    Raises
    ------
    PerdureError
        When the function writes on an argument.
    RuntimeError
        When what it does depends on values.
    """
    # Views: the same tensor may be passed twice, and each place is an argument of its own.
    with torch.no_grad():
        own = [leaf.detach() for leaf in leaves]
        recorder = _Recorder(own, names)
        with recorder:
            results = functionalize(function, remove="mutations")(*own)
    recorder.graph.output([recorder.node(r) for r in results])
    return recorder.constants, recorder.graph


class _Recorder(Light):
    """Appends every operation that is run to a graph."""

    def __init__(self, leaves: Sequence[Tensor], names: Sequence[str]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants = nn.Module()
        self.names = {}
        # By identity, and by memory; the reference tells whether the tensor that had it is still there. A
        # weak reference of Python's would not: torch brings an object back after its last use in Python.
        self.nodes: dict[int, tuple[Any, fx.Node]] = {}
        self.memory: dict[int, Any] = {}
        for i, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            node = self.graph.placeholder(f"arg{i}")
            self.enter(leaf, node)
            self.names[node] = name

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        mutable, depends = _traits(func)
        if mutable:
            self.refuse_writing(args[0])
        if depends and _depends_on_values(func, args):
            how = "a boolean mask" if func in _INDEXING else "a dynamic shape, or a number for the host"
            raise RuntimeError(f"{func} depends on the values of tensors: {how}")
        result = func(*args, **kwargs)
        if self.stays(func, (args, kwargs), result):
            return result
        inputs, options = self.translated(args), {k: self.translated(v) for k, v in kwargs.items()}
        if isinstance(result, Tensor):
            node = self.call(func, inputs, options)
            node.meta["view_of"] = _shared(args, result)
            self.enter(result, node)
        elif isinstance(result, list | tuple) and any(isinstance(r, Tensor) for r in result):
            node = self.call(func, inputs, options)
            node.meta["val"] = [_form(r) if isinstance(r, Tensor) else r for r in result]
            tensors = [(i, r) for i, r in enumerate(result) if isinstance(r, Tensor)]
            places = [_shared(args, r) for _, r in tensors]
            node.meta["view_of"] = next((p for p in places if p is not None), None)
            for (i, entry), place in zip(tensors, places, strict=True):
                one = self.call(operator.getitem, (node, i), {})
                one.meta["view_of"] = None if place is None else 0
                self.enter(entry, one)
        return result

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        """Append an operation; given arguments at once, the graph would look through them several times."""
        node = self.graph.create_node("call_function", func, name=f"value{len(self.graph.nodes)}")
        node.args, node.kwargs = args, kwargs
        return node

    def stays(self, func: Any, inputs: Any, result: Any) -> bool:
        """Tell whether a result is the same in every run: its inputs are, or only their shapes matter.

        It is then no operation but a constant. Large ones are made anew each time instead of being held.
        """
        if not isinstance(result, Tensor) or result.nbytes > HELD_BYTES:
            return False
        return func in _OF_SHAPES or all(self.constant(v) for v in _tensors(inputs))

    def constant(self, value: Tensor) -> bool:
        """Tell whether a tensor came from outside, or from such tensors alone."""
        node = self.known(value)
        return node is None or node.op == "get_attr"

    def known(self, value: Tensor) -> fx.Node | None:
        """Return the node that stands for a tensor, if one does."""
        reference, node = self.nodes.get(id(value), (None, None))
        if reference is not None and not reference.expired():
            return node
        reference = self.memory.get(value.untyped_storage()._cdata)
        if reference is not None and not reference.expired():
            # Made of what was recorded, but not by an operation: its values would be kept for ever.
            raise RuntimeError("a tensor came from no operation that could be recorded")
        return None

    def refuse_writing(self, value: Tensor) -> None:
        """Refuse to write on an argument, or on a tensor from outside: nobody would know of it."""
        node = None if self.constant(value) else self.nodes[id(value)][1]
        if node is None or node in self.names:
            where = "a tensor that is no parameter or buffer" if node is None else self.names[node]
            raise PerdureError(
                f"a hook or the model writes in place on what it was given ({where}): "
                "return a new tensor instead"
            )

    def enter(self, value: Tensor, node: fx.Node) -> None:
        """Let a node stand for a tensor from now on."""
        node.meta["val"] = _form(value)
        reference = torch._C._WeakTensorRef(value)  # type: ignore[attr-defined]
        self.nodes[id(value)] = (reference, node)
        if node.op != "get_attr":
            self.memory[value.untyped_storage()._cdata] = reference

    def node(self, value: Tensor) -> fx.Node:
        """Return the node that stands for a tensor; one that came from outside is a constant."""
        node = self.known(value)
        if node is None:
            # Kept alive by the module: its identity stays its own.
            name = f"constant{len(list(self.constants.buffers()))}"
            self.constants.register_buffer(name, value)
            node = self.graph.get_attr(name)
            self.enter(value, node)
        return node

    def translated(self, value: Any) -> Any:
        """Put nodes in the place of tensors."""
        if isinstance(value, Tensor):
            return self.node(value)
        if isinstance(value, list | tuple):
            return type(value)(self.translated(v) for v in value)
        return value


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def _shared(args: tuple[Any, ...], result: Tensor) -> int | None:
    """Return the place of the argument whose memory a result is in, if it is in one's."""
    memory = result.untyped_storage()._cdata
    return next(
        (i for i, a in enumerate(args) if any(v.untyped_storage()._cdata == memory for v in _tensors(a))),
        None,
    )


def _form(value: Tensor) -> Tensor:
    """Return a tensor of the same shape, strides and type, without data."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


@cache  # Torch makes the list of tags anew each time.
def _traits(func: Any) -> tuple[bool, bool]:
    """Tell whether an operation writes on an argument, and whether its result may depend on values."""
    depends = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags}
    return func._schema.is_mutable, bool(depends) or func in _INDEXING


def _depends_on_values(func: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether the result, or its shape, cannot be known without values: of indexing, by masks only."""
    if func not in _INDEXING:
        return True
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
