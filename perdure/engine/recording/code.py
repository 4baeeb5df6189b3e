"""A record as a function of Python: a line for each of its operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn


def compiled(graph: fx.Graph, constants: nn.Module) -> Callable[..., list[Tensor]]:
    """Return the function that runs a record, which lets go of each value after its last use.

    Parameters
    ----------
    graph:
        The record; its placeholders are the arguments, in order, and its output is a list.
    constants:
        Holds the tensors that its nodes ``get_attr`` name.
    """
    names, scope = _Names(), _Scope()
    ends = _last_uses(graph)
    arguments, lines = [], []
    for node in graph.nodes:
        if node.op == "placeholder":
            arguments.append(names.new(node))
        elif node.op == "get_attr":
            names[node] = scope.name(getattr(constants, node.target))
        elif node.op == "output":
            lines.append(f"return {_text(node.args[0], names, scope)}")
        else:
            inputs = [_text(value, names, scope) for value in node.args]
            options = [f"{key}={_text(value, names, scope)}" for key, value in node.kwargs.items()]
            if node.op == "call_method":
                call = f"{inputs[0]}.{node.target}({', '.join(inputs[1:] + options)})"
            else:
                call = f"{scope.name(node.target)}({', '.join(inputs + options)})"
            lines.append(f"{names.new(node)} = {call}" if node.users else call)
            if done := [names[used] for used in ends.get(node, ()) if used.op != "get_attr"]:
                lines.append(f"del {', '.join(done)}")
    text = "\n    ".join([f"def run({', '.join(arguments)}):", *lines])
    exec(compile(text, "<record>", "exec"), scope.values)
    run: Callable[..., list[Tensor]] = scope.values["run"]
    return run


class _Names(dict[fx.Node, str]):
    """Names of nodes in the text."""

    def new(self, node: fx.Node) -> str:
        self[node] = name = f"v{len(self)}"
        return name


class _Scope:
    """What the text names that it does not compute: functions, constants, types."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._known: dict[int, str] = {}  # by identity; they are alive as long as `values` is

    def name(self, value: Any) -> str:
        name = self._known.setdefault(id(value), f"c{len(self._known)}")
        self.values[name] = value
        return name


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """Map nodes to those that nobody reads after them."""
    ends: dict[fx.Node, list[fx.Node]] = {}
    seen: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        for used in node.all_input_nodes:
            if used not in seen:
                seen.add(used)
                ends.setdefault(node, []).append(used)
    return ends


def _text(value: Any, names: _Names, scope: _Scope) -> str:
    """Write an argument down."""
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, list | tuple):
        entries = ", ".join([_text(entry, names, scope) for entry in value])
        return f"[{entries}]" if isinstance(value, list) else f"({entries},)" if value else "()"
    finite = type(value) is float and math.isfinite(value)
    if value is None or finite or isinstance(value, bool | int | str):
        return repr(value)
    return scope.name(value)
