"""Arguments held against the annotations of what takes them, in one place for every name there is."""

from __future__ import annotations

import builtins
import collections.abc
import functools
import inspect
import math
import numbers
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

from perdure.core.errors import PerdureError, shown

Made = TypeVar("Made", bound=Callable[..., Any])

INFINITE = "may be infinite"
# A number that may be infinite: plain `float` stands for a finite one.
Extended: TypeAlias = Annotated[float, INFINITE]

# Whole numbers go into tensors.
LARGEST = 2**63 - 1
# More samples in one batch than any memory holds the activations of.
MOST_SAMPLES = 10**6
_MISFIT = object()
_LISTS = (collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable, list)
_TABLES = (collections.abc.Mapping, dict)


# ---- ranges -------------------------------------------------------------------------------------------


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number between ``least`` and ``most``; refuse everything else."""
    number = _whole(value)
    if number is _MISFIT or number < least or (most is not None and number > most):
        low = number is _MISFIT or number < least
        bound = f"at least {least}" if low else f"at most {most:,}"
        raise PerdureError(f"{name} must be a whole number of {bound}; found {shown(value)}")
    return int(number)


def check_number(name: str, value: Any, low: float = 0.0, high: float = math.inf, ends: str = "[)") -> float:
    """Return a number between ``low`` and ``high``; refuse everything else.

    ``ends`` says which ends belong to the range: ``"()"`` none, ``"(]"`` the upper one, ``"[]"`` both.
    """
    number = _number(value, finite=False)
    inside = number is not _MISFIT and (
        low < number < high or (ends[0] == "[" and number == low) or (ends[1] == "]" and number == high)
    )
    if not inside:
        bound = "positive" if ends[0] == "(" and low == 0 else f"at least {low:g}"
        finite = number is not _MISFIT and math.isfinite(number)
        bound = bound if finite else f"a finite number, {bound}"
        wanted = f"be {bound}" if high == math.inf else f"lie in {_range(low, high, ends)}"
        raise PerdureError(f"{name} must {wanted}; found {shown(value)}")
    return typing.cast(float, number)


def check_one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse what is not one of some words."""
    if not isinstance(value, str) or value not in allowed:
        raise PerdureError(f"{name} must be one of {', '.join(allowed)}; found {shown(value)}")


def _range(low: float, high: float, ends: str) -> str:
    return f"{ends[0]}{low:g}, {high:g}{ends[1]}"


# ---- annotations --------------------------------------------------------------------------------------


def checked(maker: Made, name: str = "") -> Made:
    """Hold all arguments of a function, or of a class's ``__init__``, against their annotations.

    Values of NumPy become plain ones; what does not fit is refused with one line,
    ``ewc: strength must be a number; found 'x'``. ``bool`` takes True and False only, ``int`` no bools,
    ``float`` whole numbers too, but nothing infinite (:data:`Extended` does), ``Sequence`` lists, tuples,
    ranges and arrays. A class stands for its instances. Annotations that say nothing of this (``Any``) let
    everything pass: :func:`unchecked` names them.

    Parameters
    ----------
    maker:
        The function, or the class, whose ``__init__`` is replaced.
    name:
        What errors call it; default: its own name.
    """
    title = name or maker.__name__
    if not isinstance(maker, type):
        return maker if _is_checked(maker) else typing.cast(Made, _wrap(maker, maker, title))
    start = vars(maker).get("__init__")
    if start is not None and not _is_checked(start):
        setattr(maker, "__init__", _wrap(start, maker, title))  # noqa: B010 (a type checker forbids the other)
    return maker


def unchecked(maker: Callable[..., Any]) -> list[str]:
    """Return the parameters of a function or class whose annotations let everything pass."""
    hints = _hints(maker, inspect.signature(maker))
    return [key for key, hint in hints.items() if _words(hint) is None]


def fits(maker: Callable[..., Any], parameter: str, value: Any) -> bool:
    """Return whether a value fits the annotation of a parameter."""
    return _fit(value, _hints(maker, inspect.signature(maker))[parameter]) is not _MISFIT


def described(maker: Callable[..., Any]) -> dict[str, str]:
    """Return in words what the parameters of a function or class take; what takes everything is left out."""
    hints = _hints(maker, inspect.signature(maker))
    return {key: words for key, hint in hints.items() if (words := _words(hint)) is not None}


def check(name: str, value: Any, hint: Any) -> Any:
    """Return the value as a resolved annotation has it; refuse one that does not fit."""
    fitting = _fit(value, hint)
    if fitting is _MISFIT:
        words = _words(hint) or "something else"
        if _number(value, finite=False) is not _MISFIT or _is_nan(value):
            words = words.replace("a number", "a finite number")
        raise PerdureError(f"{name} must be {words}; found {shown(value)}{_advice(value, hint)}")
    return fitting


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _advice(value: Any, hint: Any) -> str:
    """Say to write the name of what came as a foreign class or an object of one (``torch.optim.Adam``)."""
    found = value if isinstance(value, type) else type(value)
    foreign = found.__module__ not in ("builtins", "pathlib", "numpy", "torch")
    return f": write {found.__name__.lower()!r}" if foreign and _fit("", hint) == "" else ""


def _is_checked(function: Any) -> bool:
    return getattr(function, "__checked__", False)


def _wrap(function: Callable[..., Any], owner: Callable[..., Any], title: str) -> Callable[..., Any]:
    @functools.cache
    def form() -> tuple[inspect.Signature, dict[str, Any]]:
        # Resolved at the first call: names in annotations may be defined later than the function.
        signature = inspect.signature(function)
        return signature, _hints(owner, signature)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        signature, hints = form()
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python says what is missing
        for key, value in bound.arguments.items():
            if key in hints:
                bound.arguments[key] = check(f"{title}: {key}", value, hints[key])
        return function(*bound.args, **bound.kwargs)

    run.__checked__ = True  # type: ignore[attr-defined]
    return run


def _hints(owner: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Return the resolved annotations of all parameters but ``self``, ``*args`` and ``**kwargs``."""
    plain = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: _resolve(owner, p) for p in plain if p.name != "self"}


def _resolve(owner: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return what an annotation means where it stands; what only type checkers know lets everything pass."""
    hint, scope = parameter.annotation, getattr(inspect.unwrap(owner), "__globals__", {})
    # Fields of a data class may be inherited from another module.
    for base in owner.__mro__ if isinstance(owner, type) else ():
        if parameter.name in vars(base).get("__annotations__", {}):
            hint = vars(base)["__annotations__"][parameter.name]
            # Code that `exec` ran belongs to no module.
            scope = vars(sys.modules.get(base.__module__, builtins))
            break
    if hint is parameter.empty:
        return Any
    try:
        holder = SimpleNamespace(__annotations__={"it": hint})
        return typing.get_type_hints(holder, scope, include_extras=True)["it"]
    except NameError:
        return Any


def _fit(value: Any, hint: Any) -> Any:
    """Return the value as an annotation has it, or ``_MISFIT``."""
    origin, inner = get_origin(hint), get_args(hint)
    if _words(hint) is None:
        return value
    if origin is Annotated:
        return _number(value, finite=False) if INFINITE in inner else _fit(value, inner[0])
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if origin in (Union, UnionType):
        fitting = (_fit(value, part) for part in inner)
        return next((found for found in fitting if found is not _MISFIT), _MISFIT)
    if origin is Literal:
        return next((one for one in inner if type(one) is type(value) and one == value), _MISFIT)
    if (origin or hint) is tuple:
        return _fit_tuple(value, inner)
    if (origin or hint) in _LISTS:
        return _fit_list(value, inner[0] if inner else Any)
    if (origin or hint) in _TABLES:
        return _fit_table(value, inner)
    if (origin or hint) is collections.abc.Callable:
        return value if callable(value) else _MISFIT
    return value if isinstance(value, origin or hint) else _MISFIT


def _fit_list(value: Any, inner: Any) -> Any:
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        value = value.tolist()  # an array
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        return _MISFIT
    items = [_fit(item, inner) for item in value]
    if any(item is _MISFIT for item in items):
        return _MISFIT
    return tuple(items) if isinstance(value, tuple) else items


def _fit_tuple(value: Any, inner: tuple[Any, ...]) -> Any:
    if not inner or inner[-1] is ...:
        items = _fit_list(value, inner[0] if inner else Any)
    elif isinstance(value, list | tuple) and len(value) == len(inner):
        items = [_fit(item, hint) for item, hint in zip(value, inner, strict=True)]
        items = _MISFIT if any(item is _MISFIT for item in items) else items
    else:
        return _MISFIT
    return items if items is _MISFIT else tuple(items)


def _fit_table(value: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, Mapping):
        return _MISFIT
    key_hint, value_hint = inner or (Any, Any)
    table = {_fit(key, key_hint): _fit(item, value_hint) for key, item in value.items()}
    return _MISFIT if _MISFIT in table or any(item is _MISFIT for item in table.values()) else table


def _scalar(value: Any) -> Any:
    """Return the number in an array or tensor of no axes."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else _MISFIT


def _whole(value: Any) -> Any:
    value = _scalar(value)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or abs(int(value)) > LARGEST:
        return _MISFIT
    return int(value)


def _number(value: Any, finite: bool = True) -> Any:
    value = _scalar(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return _MISFIT
    try:
        real = float(value)
    except OverflowError:
        return _MISFIT
    if math.isnan(real) or (finite and math.isinf(real)):
        return _MISFIT
    return int(value) if isinstance(value, numbers.Integral) else real


def _text(value: Any) -> Any:
    return value if type(value) is str else str(value) if isinstance(value, str) else _MISFIT


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    bool: _flag,
    int: _whole,
    float: _number,
    str: _text,
    NoneType: lambda value: value if value is None else _MISFIT,
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


def _words(hint: Any, plural: bool = False) -> str | None:
    """Say what an annotation takes; ``None`` if it takes everything, or is of a kind that is not known."""
    origin, inner = get_origin(hint), get_args(hint)
    known = origin or hint
    if hint is Any or isinstance(hint, TypeVar) or getattr(hint, "_is_protocol", False):
        return None
    if origin is Annotated:
        return ("numbers" if plural else "a number") if INFINITE in inner else _words(inner[0], plural)
    if known in _NOUNS:
        return _NOUNS[known][plural]
    if origin in (Union, UnionType):
        said = [_words(part, plural) for part in inner]
        return None if None in said else _either(list(dict.fromkeys(map(str, said))))
    if origin is Literal:
        return _either([repr(one) for one in inner])
    if known is tuple and inner and inner[-1] is not ...:
        parts = ", ".join(_words(part) or "anything" for part in inner)
        return f"tuples ({parts})" if plural else f"a tuple ({parts})"
    if known in _LISTS or known is tuple:
        of = (_words(inner[0], plural=True) if inner else None) or "anything"
        return f"lists of {of}" if plural else f"a list of {of}"
    if known in _TABLES:
        key, value = (_words(part, plural=True) or "anything" for part in inner or (Any, Any))
        return f"tables from {key} to {value}" if plural else f"a table from {key} to {value}"
    if isinstance(known, type):
        article = "an" if known.__name__[0] in "AEIOU" else "a"
        return f"{known.__name__} objects" if plural else f"{article} {known.__name__}"
    return None


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
