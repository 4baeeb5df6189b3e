"""Pure functions of tensors as straight lines of NumPy: it starts an operation in a third of torch's time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.light import Light

aten = torch.ops.aten
Array = np.ndarray[Any, Any]
Form = Callable[..., list[Array]]


def in_numpy(function: Callable[..., list[Tensor]], example: list[Tensor]) -> Form:
    """Return a function of arrays that does what one of tensors does, for the example's shapes and types.

    The operations that reach torch's kernels are noted once. Those that NumPy has are written down as its
    own, the others as calls of torch on the arrays' memory. Results may share memory with the arguments, and
    with what is returned the next time: they are not to be written on. A function that writes in place,
    reads a value on the host, or gives something else in NumPy on the example, is called as it is.

    Parameters
    ----------
    function:
        Pure, without a branch on a value; returns a list of tensors.
    example:
        Arguments to note the operations with.
    """
    # Each argument is known by its object: one given twice would be taken for the other.
    given, recorder = [v.clone() for v in example], _Recorder()
    with torch.no_grad(), recorder:
        results = function(*given)
    if recorder.pure:
        form = _Writer(given).write(recorder.calls, results)
        if _agrees(form, given, results):
            return form
    return lambda *arrays: [v.numpy() for v in function(*(torch.from_numpy(a) for a in arrays))]


def _agrees(form: Form, example: list[Tensor], results: list[Tensor]) -> bool:
    """Tell whether arrays give what tensors did, up to rounding."""
    try:
        with torch.no_grad(), np.errstate(all="ignore"):
            found = form(*(v.numpy() for v in example))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False
    pairs = list(zip(found, (v.numpy() for v in results), strict=True))
    same = all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return same and all(np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs)


class _Recorder(Light):
    """Notes the operations that reach the kernels, with arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.pure = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        found = func(*args, **given)
        tensors = all(isinstance(v, Tensor) for v in pytree.tree_leaves(found))
        self.pure = self.pure and tensors and not func._schema.is_mutable
        self.calls.append((func, args, given, found))
        return found


class _Writer:
    """Writes operations as a function of Python, a line for each whose result depends on the arguments."""

    def __init__(self, example: list[Tensor]) -> None:
        self.names = {id(v): f"a{i}" for i, v in enumerate(example)}
        self.arguments = ", ".join(self.names[id(v)] for v in example)
        self.scope: dict[str, Any] = {}
        self.lines: list[str] = []

    def write(self, calls: list[Any], results: list[Tensor]) -> Form:
        for func, args, kwargs, found in calls:
            varies = any(id(v) in self.names for v in pytree.tree_leaves((args, kwargs)))
            if varies and func not in _FILLED:
                self._call(func, args, kwargs, found)
        out = ", ".join(self._text(v) for v in results)
        text = "\n    ".join([f"def run({self.arguments}):", *self.lines, f"return [{out}]"])
        exec(compile(text, "<NumPy>", "exec"), self.scope)
        run: Form = self.scope["run"]
        return run

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
        """Write one operation down, in NumPy's words where there are any."""
        rule, options = _RULES.get(func), {k for k, v in kwargs.items() if v is not None}
        plain = not options or (func is aten._to_copy.default and options == {"dtype"})
        made = rule(args, found) if rule is not None and plain else None
        if made is None:
            made = _by_torch(func, kwargs), list(args), None
        made, values, dtype = made
        inputs = ", ".join(self._text(v, dtype) for v in values)
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {self._constant(made)}({inputs})")
        if isinstance(found, Tensor):
            self.names[id(found)] = name
        else:
            self.names |= {id(v): f"{name}[{i}]" for i, v in enumerate(found)}

    def _text(self, value: Any, dtype: torch.dtype | None = None) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(v, dtype) for v in value)}]"
        if not isinstance(value, Tensor):
            return self._constant(value)
        cast = dtype is not None and value.dtype != dtype
        if id(value) not in self.names:
            return self._constant((value.to(dtype) if cast else value).numpy().copy())
        name = self.names[id(value)]
        return f"{name}.astype({self._constant(_TYPES[dtype])})" if cast and dtype else name

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name


def _by_torch(func: Any, kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Return torch's own operation, on the memory of arrays."""

    def tensor(value: Any) -> Any:
        if isinstance(value, list):
            return [tensor(v) for v in value]
        return torch.as_tensor(value) if isinstance(value, np.ndarray | np.generic) else value

    def call(*values: Any) -> Any:
        found = func(*(tensor(v) for v in values), **kwargs)
        return found.numpy() if isinstance(found, Tensor) else [v.numpy() for v in found]

    return call


# ---- one rule per operation: a function of NumPy, its arguments, and the type of arrays among them --------

_TYPES = {
    torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.int32: np.int32,
    torch.uint8: np.uint8, torch.bool: np.bool_,
}  # fmt: skip
# What these give depends on shapes alone, which stay.
_FILLED = {
    aten.ones_like.default, aten.zeros_like.default, aten.full_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default,
}  # fmt: skip
Rule = Callable[[tuple[Any, ...], Any], Any]


def _each(function: Any) -> Rule:
    """Numbers to numbers, one by one, all of the result's type."""
    return lambda args, found: (function, list(args), found.dtype)


def _compared(function: Any) -> Rule:
    """Two to a bool: both of the type that torch compares them in."""
    return lambda args, found: (function, list(args), torch.result_type(*args))


def _part(index: Callable[..., Any]) -> Rule:
    """A view by an index."""

    def rule(args: tuple[Any, ...], found: Any) -> Any:
        key = index(*args)
        return (lambda x: x[key]), [args[0]], None

    return rule


def _along(x: Tensor, dim: int, entry: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * (dim % x.ndim), entry)


def _unbound(args: tuple[Any, ...], found: Any) -> Any:
    keys = [_along(args[0], args[1] if len(args) > 1 else 0, i) for i in range(len(found))]
    return (lambda x: [x[key] for key in keys]), [args[0]], None


def _stacked(args: tuple[Any, ...], found: Tensor) -> Any:
    dim = args[1] if len(args) > 1 else 0
    shape, dtype = tuple(found.shape), _TYPES[found.dtype]
    keys = [_along(found, dim, i) for i in range(len(args[0]))]

    def stack(values: list[Array]) -> Array:
        out: Array = np.empty(shape, dtype)
        for key, value in zip(keys, values, strict=True):
            out[key] = value
        return out

    return stack, [list(args[0])], None


def _joined(args: tuple[Any, ...], found: Tensor) -> Any:
    dim = (args[1] if len(args) > 1 else 0) % found.ndim
    return (lambda values: np.concatenate(values, dim)), [list(args[0])], found.dtype


def _power(args: tuple[Any, ...], found: Tensor) -> Any:
    if args[1] == 2:
        return np.square, [args[0]], found.dtype
    return np.power, list(args), found.dtype


def _turned(args: tuple[Any, ...], found: Tensor) -> Any:
    return (np.subtract, [args[1], args[0]], found.dtype) if len(args) == 2 else None


def _cast(args: tuple[Any, ...], found: Tensor) -> Any:
    # What lies beyond a narrow type is cut off in another way.
    if found.dtype == torch.uint8:
        return None
    dtype = _TYPES[found.dtype]
    return (lambda x: x.astype(dtype)), [args[0]], None


def _clamped(args: tuple[Any, ...], found: Tensor) -> Any:
    x, low, high = (*args, None)[:3]
    if low is None or high is None:
        return (np.minimum if low is None else np.maximum), [x, high if low is None else low], found.dtype
    return (lambda x, low, high: np.minimum(np.maximum(x, low), high)), [x, low, high], found.dtype


def _shaped(args: tuple[Any, ...], found: Tensor) -> Any:
    shape = tuple(found.shape)
    return (lambda x: x.reshape(shape)), [args[0]], None


def _chosen(args: tuple[Any, ...], found: Tensor) -> Any:
    condition, one, other = args
    dtype = _TYPES[found.dtype]

    def choose(condition: Array, one: Array, other: Array) -> Array:
        return np.asarray(np.where(condition, one, other), dtype)

    return choose, [condition, one, other], None


_RULES: dict[Any, Rule] = {
    aten.rsub.Scalar: _turned,
    aten.where.self: _chosen,
    aten._to_copy.default: _cast,
    aten.remainder.Scalar: _each(np.remainder),
    aten.pow.Tensor_Scalar: _power,
    aten.clamp.default: _clamped,
    aten.clamp_min.default: _each(np.maximum),
    aten.clamp_max.default: _each(np.minimum),
    aten.unbind.int: _unbound,
    aten.stack.default: _stacked,
    aten.cat.default: _joined,
    aten.select.int: _part(_along),
    aten.slice.Tensor: _part(
        lambda x, dim=0, start=None, end=None, step=1: _along(x, dim, slice(start, end, step))
    ),
    aten.unsqueeze.default: _part(lambda x, dim: (*(slice(None),) * (dim % (x.ndim + 1)), None)),
}
_RULES |= dict.fromkeys(
    (
        aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.squeeze.default,
        aten.squeeze.dim, aten.squeeze.dims, aten.clone.default, aten.alias.default, aten.detach.default,
    ),
    _shaped,
)  # fmt: skip
_EACH: dict[str, Any] = {
    "add.Tensor": np.add, "sub.Tensor": np.subtract, "mul.Tensor": np.multiply, "div.Tensor": np.true_divide,
    "maximum.default": np.maximum, "minimum.default": np.minimum, "neg.default": np.negative,
    "abs.default": np.abs, "sin.default": np.sin, "cos.default": np.cos, "tan.default": np.tan,
    "exp.default": np.exp, "log.default": np.log, "sqrt.default": np.sqrt, "tanh.default": np.tanh,
    "floor.default": np.floor, "atan2.default": np.arctan2, "bitwise_not.default": np.invert,
    "logical_not.default": np.logical_not, "logical_and.default": np.logical_and,
    "logical_or.default": np.logical_or, "bitwise_and.Tensor": np.bitwise_and,
    "bitwise_and.Scalar": np.bitwise_and, "bitwise_or.Tensor": np.bitwise_or,
    "bitwise_or.Scalar": np.bitwise_or,
}  # fmt: skip
_COMPARED: dict[str, Any] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip
_RULES |= {operator.attrgetter(name)(aten): _each(function) for name, function in _EACH.items()}
for _name, _function in _COMPARED.items():
    _packet = getattr(aten, _name)
    _RULES |= dict.fromkeys((_packet.Tensor, _packet.Scalar), _compared(_function))
