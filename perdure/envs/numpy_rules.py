"""Operations of torch's kernels in NumPy's words.

A rule takes the arguments of an operation and its result. It returns a function of NumPy, the arguments of
that, and the type which arrays among them must have first; or nothing, where NumPy would do something else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

aten = torch.ops.aten
Array = np.ndarray[Any, Any]
Rule = Callable[[tuple[Any, ...], Any], Any]

TYPES = {
    torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.int32: np.int32,
    torch.int16: np.int16, torch.uint8: np.uint8, torch.bool: np.bool_,
}  # fmt: skip
# What these give depends on shapes alone, which stay.
FILLED = {
    aten.ones_like.default, aten.zeros_like.default, aten.full_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default,
}  # fmt: skip


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
    shape, dtype = tuple(found.shape), TYPES[found.dtype]
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
    dtype = TYPES[found.dtype]
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
    dtype = TYPES[found.dtype]

    def choose(condition: Array, one: Array, other: Array) -> Array:
        return np.asarray(np.where(condition, one, other), dtype)

    return choose, [condition, one, other], None


RULES: dict[Any, Rule] = {
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
RULES |= dict.fromkeys(
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
RULES |= {operator.attrgetter(name)(aten): _each(function) for name, function in _EACH.items()}
for _name, _function in _COMPARED.items():
    _packet = getattr(aten, _name)
    RULES |= dict.fromkeys((_packet.Tensor, _packet.Scalar), _compared(_function))
