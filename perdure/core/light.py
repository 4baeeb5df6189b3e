"""Dispatch modes and gradients that do not load torch's compiler, whose import would take seconds."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from types import ModuleType
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Unloaded(ModuleType):
    """Stands for a module of the compiler until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def leave_compiler() -> None:
    """Let gradients of :mod:`torch.func` be taken without the compiler.

    Each of them switches compiled differentiation off, which loads the compiler; while that is not loaded,
    it is off. Whatever else is asked of the compiler loads it, and then it is as if nothing had been here.
    """
    if "torch._dynamo" in sys.modules:
        return
    compiler = _Unloaded("torch._dynamo")
    compiled = _Unloaded("torch._dynamo.compiled_autograd")
    vars(compiled)["_disable"] = nullcontext
    vars(compiler)["compiled_autograd"] = compiled
    vars(torch)["_dynamo"] = compiler


leave_compiler()


class Light(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode without the compiler, whose import would take seconds."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
