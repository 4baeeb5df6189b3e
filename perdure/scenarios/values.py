"""Turning arrays into the tensors that streams hold, and refusing what is not fit to learn from."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError

Kind = Literal["numbers", "tokens", "bytes"]
# Names of classes; those that are missing are None.
Names: TypeAlias = tuple[str | None, ...]
# One column of labels.
Column: TypeAlias = Tensor | Names
# Numbers that float64 and int64 both hold.
LARGEST = 2**53


def as_tensor(where: str, values: Any) -> Tensor:
    """Return a copy of an array or tensor of real numbers as a tensor of its own kind of number."""
    if not isinstance(values, Tensor):
        return torch.from_numpy(_as_array(where, values))
    if values.layout != torch.strided or values.is_quantized or values.device.type == "meta":
        raise PerdureError(f"{where}: expected a plain tensor of numbers; found a {_kind(values)} one")
    if values.is_complex():
        raise PerdureError(f"{where}: expected real numbers; found complex ones")
    return values.detach().cpu().clone()


def _kind(values: Tensor) -> str:
    if values.is_quantized:
        return "quantized"
    return str(values.layout).removeprefix("torch.") if values.device.type != "meta" else "meta"


def _as_array(where: str, values: Any) -> np.ndarray[Any, Any]:
    """Return a copy of what NumPy takes for an array, of a kind of number that torch has."""
    found = type(values).__name__
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise PerdureError(f"{where}: expected an array of numbers; found one with masked values")
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of anything, and whatever claims to be an array
        if isinstance(error, ValueError):
            raise PerdureError(
                f"{where}: expected an array of numbers; found a {found} of uneven rows"
            ) from None
        raise PerdureError(f"{where}: expected an array of numbers; found a {found}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise PerdureError(f"{where}: expected an array of numbers; found {found} of {array.dtype}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise PerdureError(f"{where}: expected numbers below 2^63; found {array.max()}")
    # Torch lacks most operations for unsigned numbers wider than a byte, and knows no order of bytes but the
    # machine's, no steps backwards and no numbers beyond eight bytes.
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 1
    kind = np.dtype(np.int64) if wide else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float64 if kind.itemsize > 8 else kind, order="C", copy=True)


def as_inputs(where: str, x: Any, kind: Kind = "numbers") -> Tensor:
    """Return ``x``, ``[n, ...]``, as float32, token ids as int64, bytes as uint8; values stay as they are."""
    tensor = as_tensor(where, x)
    if tensor.ndim < 2:
        raise PerdureError(f"{where}: inputs must be [n, features] or [n, ...]; found {list(tensor.shape)}")
    if kind == "bytes":
        if tensor.dtype != torch.uint8:
            raise PerdureError(f"{where}: bytes must be uint8; found {tensor.dtype}")
        return tensor
    if kind == "numbers":
        inputs = tensor.to(torch.float32)
        if tensor.is_floating_point() and bool((torch.isinf(inputs) & torch.isfinite(tensor)).any()):
            raise PerdureError(
                f"{where}: inputs must be finite as float32; found {tensor.abs().nan_to_num(0, 0).max():g}, "
                "which becomes infinite"
            )
        return inputs
    if tensor.is_floating_point() or bool((tensor < 0).any()):
        raise PerdureError(f"{where}: token ids must be whole numbers of at least 0; found {tensor.dtype}")
    return tensor.to(torch.int64)


def as_labels(where: str, y: Any) -> Tensor:
    """Return whole numbers ``y`` as int64, ``[n]``."""
    tensor = as_tensor(where, y)
    if tensor.ndim != 1:
        raise PerdureError(f"{where}: labels must be [n]; found {list(tensor.shape)}")
    if tensor.is_floating_point():
        bad = tensor[tensor != tensor.round()]
        if len(bad):
            raise PerdureError(f"{where}: labels must be whole numbers; found {float(bad[0]):g}")
    return tensor.to(torch.int64)


def read_classes(
    where: str, y: Any, known: Sequence[str] | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return the classes of samples, ``[n]`` int64; of names also the names, in order, which may be known."""
    if isinstance(y, Tensor) or _objects(y) is None:
        return as_labels(where, y), None
    column, *others = read_columns(where, y)
    if others:
        raise PerdureError(f"{where}: labels must be [n]; found {1 + len(others)} columns")
    if isinstance(column, Tensor):
        return as_labels(where, column), None
    if known is None:
        coded, known = number_names(where, [column])
        return coded[0].long(), tuple(known)
    strange = sorted({str(name) for name in column} - set(known))
    if strange:
        raise PerdureError(f"{where}: {strange[0]!r} is none of the classes {', '.join(known)}")
    place = {name: i for i, name in enumerate(known)}
    return torch.tensor([place[str(name)] for name in column], dtype=torch.int64), tuple(known)


def read_labels(
    where: str, y: Any, known: Sequence[str] | None, real: bool
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return targets, ``[n]`` float32, where labels are real, else as :func:`read_classes`."""
    if not real:
        return read_classes(where, y, known)
    tensor = as_tensor(f"{where}, labels", y)
    if tensor.ndim != 1:
        raise PerdureError(f"{where}: labels must be [n]; found {list(tensor.shape)}")
    check_finite(where, "targets", tensor)
    return tensor.to(torch.float32), None


def read_columns(where: str, y: Any) -> list[Column]:
    """Return the labels ``[n]`` or ``[n, targets]`` of one part: a column for each target.

    Parameters
    ----------
    where:
        What errors call the part.
    y:
        Numbers, names, or a table (data frame) of both. In ``[n, targets]``, NaN, ``None`` and empty names
        are labels that are missing.
    """
    array = None if isinstance(y, Tensor) else _objects(y)
    if array is None:
        tensor = as_tensor(where, y)
        columns: list[Column] = list(tensor.unbind(1)) if tensor.ndim == 2 else [tensor]
        shape = list(tensor.shape)
    else:
        cut = [array] if array.ndim != 2 else [array[:, j] for j in range(array.shape[1])]
        shape = list(array.shape)
        columns = [_column(where, one) for one in cut] if array.ndim in (1, 2) else []
    if len(shape) not in (1, 2) or not columns:
        raise PerdureError(f"{where}: labels must be [n] or [n, targets]; found {shape}")
    for j, column in enumerate(columns):
        _check_there(where, column, None if len(columns) == 1 else j)
    return columns


def _objects(y: Any) -> np.ndarray[Any, np.dtype[np.object_]] | None:
    """Return labels that hold names as an array of objects; ``None`` where they are numbers, or no array."""
    if isinstance(y, np.ma.MaskedArray):
        return None
    try:
        array = np.asarray(y)
    except Exception:  # whatever claims to be an array: `as_tensor` says what is wrong
        return None
    return array.astype(object) if array.dtype.kind in "OU" else None


def _column(where: str, values: np.ndarray[Any, np.dtype[np.object_]]) -> Column:
    there = [None if _is_missing(value) else value for value in values]
    found = [value for value in there if value is not None]
    if all(isinstance(value, str) for value in found):
        return tuple(None if value is None else str(value) for value in there)
    if all(isinstance(value, numbers.Real) and not abs(float(value)) > LARGEST for value in found):
        whole = len(found) == len(there) and all(isinstance(value, numbers.Integral) for value in found)
        kind = np.int64 if whole else np.float64
        return as_tensor(where, np.array([np.nan if v is None else v for v in there], dtype=kind))
    kinds = ", ".join(sorted({type(value).__name__ for value in found}))
    raise PerdureError(f"{where}: expected labels that are all numbers or all names; found {kinds}")


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value == "" if isinstance(value, str) else pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _check_there(where: str, column: Column, target: int | None) -> None:
    """Refuse labels that are not finite; where there are several for each sample, some may be missing."""
    if isinstance(column, Tensor) and target is None:
        check_finite(where, "targets", column)
    elif isinstance(column, Tensor):
        check_finite(where, f"target {target}", column.nan_to_num(0, torch.inf, -torch.inf))
    elif None in column and target is None:
        raise PerdureError(
            f"{where}: every sample must have a label; {column.count(None)} of {len(column)} lack one, first "
            f"sample {column.index(None)} (counted from 0)"
        )


def number_names(
    where: str, columns: Sequence[tuple[str | None, ...]]
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Number the names of columns in sorted order; those that are missing become NaN."""
    known = sorted({name for column in columns for name in column if name is not None})
    found = sum(name is not None for column in columns for name in column)
    if found == len(known) > 1:
        raise PerdureError(f"{where}: names of classes must recur; found {found} that all differ")
    place: dict[str | None, float] = {name: i for i, name in enumerate(known)}
    place[None] = float("nan")
    coded = [[place[one] for one in column] for column in columns]
    return [torch.tensor(column, dtype=torch.float64) for column in coded], tuple(known)


def same_length(where: str, x: Tensor, y: Tensor) -> None:
    """Refuse inputs and labels of different number."""
    if len(x) != len(y):
        raise PerdureError(f"{where}: {len(x)} inputs need as many labels; found {len(y)}")


def class_count(where: str, labels: Sequence[Tensor]) -> int:
    """Return how many classes labels number from 0; far more than there are samples is an error."""
    samples = sum(len(y) for y in labels)
    highest = max((int(y.max()) for y in labels if len(y)), default=-1)
    if highest >= max(samples, 1000):
        raise PerdureError(
            f"{where}: labels must number the classes from 0; found {highest} among {samples} samples"
        )
    return highest + 1


def class_number(where: str, names: Sequence[str] | None, labels: Sequence[Tensor]) -> int:
    """Return how many classes there are, at least those that have names; none where labels are real."""
    if any(y.is_floating_point() for y in labels):
        return 0
    return max(len(names or ()), class_count(where, labels))


def check_range(where: str, what: str, values: Tensor, number: int) -> None:
    """Refuse whole numbers outside 0..number-1."""
    bad = values[(values < 0) | (values >= number)]
    if len(bad):
        raise PerdureError(
            f"{where}: {what} must be in 0..{number - 1}; {len(bad)} of {len(values)} are not, "
            f"such as {int(bad[0])}"
        )


def check_finite(where: str, what: str, values: Tensor) -> None:
    """Refuse NaN and infinite values, and say where the first of them is."""
    if not values.is_floating_point():
        return
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        rows = bad.flatten(1).any(1) if values.ndim > 1 else bad
        row, *rest = bad.nonzero()[0].tolist()
        inside = f", column {rest[0]}" if len(rest) == 1 else f", at {rest}" if rest else ""
        raise PerdureError(
            f"{where}: {what} must be finite; {int(bad.sum())} values in {int(rows.sum())} of {len(values)} "
            f"samples are NaN or infinite, first in sample {row}{inside} (counted from 0)"
        )


def check_samples(where: str, x: Tensor, y: Tensor, classes: int) -> None:
    """Refuse samples that nothing can be learned from."""
    same_length(where, x, y)
    if not len(y):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    if not x[0].numel():
        raise PerdureError(f"{where}: inputs must hold at least one value; found the shape {list(x.shape)}")
    check_finite(where, "inputs", x)
    if y.is_floating_point():
        check_finite(where, "targets", y)
    else:
        check_range(where, "labels", y, classes)
