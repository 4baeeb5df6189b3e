"""The words in which a broken promise is told, and comparisons that several checks make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.errors import PerdureError


class Broken(PerdureError):
    """A strategy or an environment does not keep a promise of its contract."""


def check_alike(where: str, what: str, before: Any, after: Any) -> None:
    """Refuse another structure, other shapes or other types."""
    old, new = (dict(pytree.tree_leaves_with_path(tree)) for tree in (before, after))
    for path in [*old, *(p for p in new if p not in old)]:
        a, b = _shape(old.get(path)), _shape(new.get(path))
        if a != b:
            raise Broken(f"{where}: {what} must keep its shape: {a} at {pytree.keystr(path)}; found {b}")


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return "nothing" if value is None else type(value).__name__
    return f"{list(value.shape)} {value.dtype}".replace("torch.", "")


def check_finite(where: str, what: str, values: Any) -> None:
    """Refuse tensors that hold NaN or infinity."""
    leaves: Iterable[Any] = pytree.tree_leaves(values)
    if not all(bool(v.isfinite().all()) for v in leaves if isinstance(v, Tensor)):
        raise Broken(f"{where}: {what} must be finite; found NaN or infinity")


def first_line(error: Exception) -> str:
    """Return the first line of a message."""
    return (str(error).strip().splitlines() or ["no message"])[0]
