"""What annotations of parameters take: values held against them, and what they take in words."""

from __future__ import annotations

import collections.abc
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

INFINITE = "may be infinite"
# A number that may be infinite: plain `float` stands for a finite one.
Extended: TypeAlias = Annotated[float, INFINITE]
# What a value is that an annotation does not take.
MISFIT = object()

# Whole numbers go into tensors.
LARGEST = 2**63 - 1
_LISTS = (collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable, list)
_TABLES = (collections.abc.Mapping, dict)


def fit(value: Any, hint: Any) -> Any:
    """Return the value as an annotation has it, or ``MISFIT``."""
    origin, inner = get_origin(hint), get_args(hint)
    if in_words(hint) is None:
        return value
    if origin is Annotated:
        return as_number(value, finite=False) if INFINITE in inner else fit(value, inner[0])
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if origin in (Union, UnionType):
        fitting = (fit(value, part) for part in inner)
        return next((found for found in fitting if found is not MISFIT), MISFIT)
    if origin is Literal:
        return next((one for one in inner if type(one) is type(value) and one == value), MISFIT)
    if (origin or hint) is tuple:
        return _fit_tuple(value, inner)
    if (origin or hint) in _LISTS:
        return _fit_list(value, inner[0] if inner else Any)
    if (origin or hint) in _TABLES:
        return _fit_table(value, inner)
    if (origin or hint) is collections.abc.Callable:
        return value if callable(value) else MISFIT
    return value if isinstance(value, origin or hint) else MISFIT


def _fit_list(value: Any, inner: Any) -> Any:
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        value = value.tolist()  # an array
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        return MISFIT
    items = [fit(item, inner) for item in value]
    if any(item is MISFIT for item in items):
        return MISFIT
    return tuple(items) if isinstance(value, tuple) else items


def _fit_tuple(value: Any, inner: tuple[Any, ...]) -> Any:
    if not inner or inner[-1] is ...:
        items = _fit_list(value, inner[0] if inner else Any)
    elif isinstance(value, list | tuple) and len(value) == len(inner):
        items = [fit(item, hint) for item, hint in zip(value, inner, strict=True)]
        items = MISFIT if any(item is MISFIT for item in items) else items
    else:
        return MISFIT
    return items if items is MISFIT else tuple(items)


def _fit_table(value: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, Mapping):
        return MISFIT
    key_hint, value_hint = inner or (Any, Any)
    table = {fit(key, key_hint): fit(item, value_hint) for key, item in value.items()}
    return MISFIT if MISFIT in table or any(item is MISFIT for item in table.values()) else table


def _scalar(value: Any) -> Any:
    """Return the number in an array or tensor of no axes."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else MISFIT


def as_whole(value: Any) -> Any:
    """Return a value as a whole number that fits into tensors, or ``MISFIT``."""
    value = _scalar(value)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or abs(int(value)) > LARGEST:
        return MISFIT
    return int(value)


def as_number(value: Any, finite: bool = True) -> Any:
    """Return a value as a number, whole where it is, or ``MISFIT``; NaN is none."""
    value = _scalar(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return MISFIT
    try:
        real = float(value)
    except OverflowError:
        return MISFIT
    if math.isnan(real) or (finite and math.isinf(real)):
        return MISFIT
    return int(value) if isinstance(value, numbers.Integral) else real


def _text(value: Any) -> Any:
    return value if type(value) is str else str(value) if isinstance(value, str) else MISFIT


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    bool: _flag,
    int: as_whole,
    float: as_number,
    str: _text,
    NoneType: lambda value: value if value is None else MISFIT,
}
_NOUNS: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "True or False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    NoneType: ("None", "None"),
    Path: ("a path", "paths"),
    PathLike: ("a path", "paths"),
    Any: ("anything", "anything"),
    collections.abc.Callable: ("a function", "functions"),
}


def in_words(hint: Any, plural: bool = False) -> str | None:
    """Say what an annotation takes; ``None`` if it takes everything, or is of a kind that is not known."""
    origin, inner = get_origin(hint), get_args(hint)
    known = origin or hint
    if hint is Any or isinstance(hint, TypeVar) or getattr(hint, "_is_protocol", False):
        return None
    if origin is Annotated:
        return ("numbers" if plural else "a number") if INFINITE in inner else in_words(inner[0], plural)
    if known in _NOUNS:
        return _NOUNS[known][plural]
    if origin in (Union, UnionType):
        said = [in_words(part, plural) for part in inner]
        return None if None in said else _either(list(dict.fromkeys(map(str, said))))
    if origin is Literal:
        return _either([repr(one) for one in inner])
    if known is tuple and inner and inner[-1] is not ...:
        parts = ", ".join(in_words(part) or "anything" for part in inner)
        return f"tuples ({parts})" if plural else f"a tuple ({parts})"
    if known in _LISTS or known is tuple:
        of = (in_words(inner[0], plural=True) if inner else None) or "anything"
        return f"lists of {of}" if plural else f"a list of {of}"
    if known in _TABLES:
        key, value = (in_words(part, plural=True) or "anything" for part in inner or (Any, Any))
        return f"tables from {key} to {value}" if plural else f"a table from {key} to {value}"
    if isinstance(known, type):
        article = "an" if known.__name__[0] in "AEIOU" else "a"
        return f"{known.__name__} objects" if plural else f"{article} {known.__name__}"
    return None


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
