"""Nested dictionaries of tensors: what hooks return, held against what they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perdure.core.errors import PerdureError


def like(before: Any, after: Any, who: str, where: str = "") -> Any:
    """Return ``after`` with its entries in the order of ``before``: records take tensors by their place.

    Parameters
    ----------
    before, after:
        Nested dictionaries, lists and tuples of tensors.
    who:
        What returned ``after``, for the message.
    where:
        The place in the nested dictionaries, for the message.

    Raises
    ------
    PerdureError
        When names, shapes or kinds of number differ.
    """
    if isinstance(before, Mapping):
        if not isinstance(after, Mapping):
            raise PerdureError(f"{who} must return a dictionary{where}; found {type(after).__name__}")
        if list(before) != list(after):
            _check_names(before, after, f"{who} must return the names that it was given{where}")
        return {k: like(v, after[k], who, f"{where} at {k!r}") for k, v in before.items()}
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        entries = [
            like(a, b, who, f"{where}[{i}]") for i, (a, b) in enumerate(zip(before, after, strict=True))
        ]
        return type(before)(*entries) if hasattr(before, "_fields") else type(before)(entries)
    if _form(before) != _form(after):
        raise PerdureError(f"{who} must return {_form(before)}{where}, as before; found {_form(after)}")
    return after


def _check_names(before: Mapping[Any, Any], after: Mapping[Any, Any], must: str) -> None:
    """Refuse names that are missing or that nobody knows."""
    for said, names in (("leaves out", before.keys() - after.keys()), ("adds", after.keys() - before.keys())):
        if names:
            raise PerdureError(f"{must}; it {said} {min(names)!r}")


def forms(tensors: Mapping[str, Any]) -> str:
    """Say what tensors are, without their values: ``x float32 [60, 64], y int64 [60]``."""
    return ", ".join(f"{name} {_form(value)}" for name, value in tensors.items())


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
