"""Pure functions of tensors as straight lines of NumPy: it starts an operation in a third of torch's time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.light import Light
from perdure.envs.numpy_rules import FILLED, RULES, TYPES, Array

aten = torch.ops.aten
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
            if varies and func not in FILLED:
                self._call(func, args, kwargs, found)
        out = ", ".join(self._text(v) for v in results)
        text = "\n    ".join([f"def run({self.arguments}):", *self.lines, f"return [{out}]"])
        exec(compile(text, "<NumPy>", "exec"), self.scope)
        run: Form = self.scope["run"]
        return run

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
        """Write one operation down, in NumPy's words where there are any."""
        rule, options = RULES.get(func), {k for k, v in kwargs.items() if v is not None}
        plain = not options or (func is aten._to_copy.default and options == {"dtype"})
        made = rule(args, found) if rule is not None and plain else None
        if made is None:
            made = _by_torch(func, tuple(kwargs)), [*args, *kwargs.values()], None
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
        return f"{name}.astype({self._constant(TYPES[dtype])})" if cast and dtype else name

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name


def _by_torch(func: Any, names: tuple[str, ...]) -> Callable[..., Any]:
    """Return torch's own operation, on the memory of arrays; the last values go by names."""

    def tensor(value: Any) -> Any:
        if isinstance(value, list):
            return [tensor(v) for v in value]
        return torch.as_tensor(value) if isinstance(value, np.ndarray | np.generic) else value

    def call(*values: Any) -> Any:
        given = [tensor(v) for v in values]
        by_place = len(given) - len(names)
        found = func(*given[:by_place], **dict(zip(names, given[by_place:], strict=True)))
        return found.numpy() if isinstance(found, Tensor) else [v.numpy() for v in found]

    return call
