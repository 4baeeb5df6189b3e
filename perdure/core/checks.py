"""Arguments held against the annotations of what takes them, in one place for every name there is."""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import sys
import typing
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

from perdure.core.errors import PerdureError, shown
from perdure.core.hints import LARGEST, MISFIT, as_number, as_whole, fit, in_words

Made = TypeVar("Made", bound=Callable[..., Any])

# More samples in one batch than any memory holds the activations of.
MOST_SAMPLES = 10**6


# ---- ranges -------------------------------------------------------------------------------------------


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number between ``least`` and ``most``; refuse everything else."""
    number = as_whole(value)
    if number is MISFIT or number < least or (most is not None and number > most):
        huge = number is MISFIT and type(value) is int and value > LARGEST
        low = not huge and (number is MISFIT or number < least)
        most = LARGEST if most is None else most
        bound = f"at least {least}" if low else f"at most {most:,}"
        raise PerdureError(f"{name} must be a whole number of {bound}; found {shown(value)}")
    return int(number)


def check_number(name: str, value: Any, low: float = 0.0, high: float = math.inf, ends: str = "[)") -> float:
    """Return a number between ``low`` and ``high``; refuse everything else.

    ``ends`` says which ends belong to the range: ``"()"`` none, ``"(]"`` the upper one, ``"[]"`` both.
    """
    number = as_number(value, finite=False)
    inside = number is not MISFIT and (
        low < number < high or (ends[0] == "[" and number == low) or (ends[1] == "]" and number == high)
    )
    if not inside:
        bound = "positive" if ends[0] == "(" and low == 0 else f"at least {low:g}"
        finite = number is not MISFIT and math.isfinite(number)
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
    return [key for key, hint in hints.items() if in_words(hint) is None]


def fits(maker: Callable[..., Any], parameter: str, value: Any) -> bool:
    """Return whether a value fits the annotation of a parameter."""
    return fit(value, _hints(maker, inspect.signature(maker))[parameter]) is not MISFIT


def described(maker: Callable[..., Any]) -> dict[str, str]:
    """Return in words what the parameters of a function or class take; what takes everything is left out."""
    hints = _hints(maker, inspect.signature(maker))
    return {key: words for key, hint in hints.items() if (words := in_words(hint)) is not None}


def check(name: str, value: Any, hint: Any) -> Any:
    """Return the value as a resolved annotation has it; refuse one that does not fit."""
    fitting = fit(value, hint)
    if fitting is MISFIT:
        words = in_words(hint) or "something else"
        if as_number(value, finite=False) is not MISFIT or _is_nan(value):
            words = words.replace("a number", "a finite number")
        raise PerdureError(f"{name} must be {words}; found {shown(value)}{_advice(value, hint)}")
    return fitting


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _advice(value: Any, hint: Any) -> str:
    """Say to write the name of what came as a foreign class or an object of one (``torch.optim.Adam``)."""
    found = value if isinstance(value, type) else type(value)
    foreign = found.__module__ not in ("builtins", "pathlib", "numpy", "torch")
    return f": write {found.__name__.lower()!r}" if foreign and fit("", hint) == "" else ""


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
