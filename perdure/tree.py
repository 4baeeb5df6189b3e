"""Nested dictionaries of tensors: what hooks return, held against what they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perdure.errors import PerdureError


def like(before: Any, after: Any, what: str) -> Any:
    """Return ``after`` with its entries in the order of ``before``: records take tensors by their place.

    Parameters
    ----------
    before, after:
        Nested dictionaries, lists and tuples of tensors.
    what:
        What a message calls them, such as ``"the state"``.

    Raises
    ------
    PerdureError
        When names, shapes or kinds of number differ.
    """
    if isinstance(before, Mapping):
        if not isinstance(after, Mapping) or before.keys() != after.keys():
            found = sorted(map(str, after)) if isinstance(after, Mapping) else type(after).__name__
            raise PerdureError(f"{what} must keep the names {sorted(map(str, before))}; found {found}")
        return {k: like(v, after[k], f"{what}[{k!r}]") for k, v in before.items()}
    if isinstance(before, list | tuple):
        if not isinstance(after, list | tuple) or len(before) != len(after):
            raise PerdureError(f"{what} must keep its {len(before)} entries; found {type(after).__name__}")
        return type(before)(
            like(b, a, f"{what}[{i}]") for i, (b, a) in enumerate(zip(before, after, strict=True))
        )
    if _form(before) != _form(after):
        raise PerdureError(f"{what} must stay {_form(before)}; found {_form(after)}")
    return after


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
