"""From the columns of a table to numbers that a model can learn from."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.values import check_finite

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
MISSING = "(missing)"
MOST_CATEGORIES = 1000
# Whole numbers of more values than this, with fewer rows for each, may be meant as numbers.
FEW = 10
# Deviations below this share of the largest value are what rounding leaves of a constant.
ROUNDING = 1e-12
NESTED = (list, tuple, dict, set, np.ndarray)


def read_label(
    column: str | int, train: pd.DataFrame, test: pd.DataFrame | None, objective: Objective | None
) -> tuple[Objective, Tensor, Tensor | None, tuple[str, ...], list[str]]:
    """Return the objective, the labels of both tables, the names of the classes, and what is doubtful."""
    values = _complete(train, column)
    held = None if test is None else _complete(test, column)
    goal = objective or (Regression() if _is_real(values) else Classification())
    if goal.real:
        found = None if held is None else targets(column, held)
        return goal, targets(column, values), found, (), []
    y, classes = codes(f"label column {column!r}", names_of(train, column))
    notes = []
    if objective is None and values.dtype.kind in "iuf" and len(y) / len(classes) < FEW < len(classes):
        notes.append(
            f"label column {column!r} holds {len(classes)} different whole numbers in {len(y)} rows: they "
            "are taken as classes (objective='regression' takes them as numbers)"
        )
    where = f"label column {column!r} of the test table"
    found = None if test is None else codes(where, names_of(test, column), classes)[0]
    return goal, y, found, classes, notes


def targets(column: str | int, values: pd.Series) -> Tensor:
    """Return the targets of a regression, ``[n]`` float32."""
    numbers = torch.tensor(_numbers(column, values, "which a regression needs"), dtype=torch.float32)
    check_finite(f"column {column!r}", "targets", numbers)
    return numbers


def _is_real(values: pd.Series) -> bool:
    return values.dtype.kind == "f" and not all(float(value).is_integer() for value in values)


def names_of(frame: pd.DataFrame, column: str | int) -> pd.Series:
    """Return the values of a column of classes, none of which may be missing."""
    values = _complete(frame, column)
    if _is_real(values):
        raise PerdureError(
            f"column {column!r} must hold classes; found {values.nunique()} different real numbers"
        )
    return values


def _complete(frame: pd.DataFrame, column: str | int) -> pd.Series:
    """Return the values of a column in which none may be missing."""
    values = frame[column]
    missing = int(values.isna().sum())
    if missing:
        raise PerdureError(
            f"column {column!r} must have a value in every row; {missing} of {len(values)} lack one, first "
            f"row {_first(values.isna())} (counted from 0)"
        )
    check_flat(column, values)
    return values


def check_flat(column: Hashable, values: pd.Series) -> None:
    """Refuse a column that holds lists or the like."""
    if values.dtype == object and any(isinstance(value, NESTED) for value in values):
        raise PerdureError(f"column {column!r} must hold numbers or texts; found lists in it")


def _first(wrong: pd.Series) -> int:
    """Return the row, counted from 0, of the first value that is wrong."""
    return int(wrong.to_numpy(dtype=bool).argmax())


def codes(
    where: str, values: pd.Series, known: tuple[str, ...] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Number the values of a column, ``[n]`` int64, by ``known`` or else by their own order."""
    texts = _texts(values)
    if known is None:
        # Numbers in the order of numbers, anything else in that of its text.
        known = tuple(dict.fromkeys(_texts(values.drop_duplicates().sort_values(key=_sortable)).tolist()))
    place = {text: i for i, text in enumerate(known)}
    strange = sorted(set(texts) - set(known))
    if strange:
        raise PerdureError(
            f"{where}: {strange[0]!r} does not occur in the training table; it has {', '.join(known)}"
        )
    return torch.tensor([place[text] for text in texts], dtype=torch.int64), known


def _sortable(values: pd.Series) -> pd.Series:
    return values if values.dtype.kind in "biuf" else values.astype(str)


def _texts(values: pd.Series) -> pd.Series:
    """Return values as text without spaces at the ends; missing ones by a name, whole numbers without .0."""
    if values.dtype.kind == "f":
        # As many digits as every number of this size keeps: values that differ get different names.
        digits = 15 if getattr(values.dtype, "itemsize", 8) > 4 else 6
        texts = values.map(
            lambda v: str(int(v)) if float(v).is_integer() else f"{v:.{digits}g}", na_action="ignore"
        )
    else:
        texts = values.map(lambda v: str(v).strip(), na_action="ignore")
    return texts.astype(object).where(values.notna(), MISSING)


@dataclass(frozen=True)
class Number:
    """A numeric column: ``(value - mean) / deviation``, missing ones as the median."""

    column: str | int
    median: float
    mean: float
    deviation: float
    indicator: bool

    @classmethod
    def fit(cls, column: str | int, values: pd.Series) -> Number:
        """Learn the statistics from the training rows."""
        numbers = _numbers(column, values)
        missing = np.isnan(numbers)
        median = 0.0 if missing.all() else float(np.median(numbers[~missing]))
        numbers = np.where(missing, median, numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std())
        if not np.isfinite([mean, deviation]).all():
            raise PerdureError(
                f"column {column!r} must hold numbers whose squares are finite; found {numbers.max():g}"
            )
        if deviation <= ROUNDING * np.abs(numbers).max():
            deviation = 1.0
        return cls(column, median, mean, deviation, bool(missing.any()))

    def encode(self, values: pd.Series) -> Floats:
        """Return one column, or two when the training rows lack values: ``[n, 1 or 2]``."""
        numbers = _numbers(self.column, values)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self.median, numbers) - self.mean) / self.deviation
            scaled = scaled.astype(np.float32)
        if not np.isfinite(scaled).all():
            raise PerdureError(
                f"column {self.column!r} must hold numbers like the training rows; found {numbers.max():g}"
            )
        columns = [scaled, missing] if self.indicator else [scaled]
        return np.stack(columns, axis=1).astype(np.float32)


def _numbers(column: str | int, values: pd.Series, why: str = "") -> np.ndarray[Any, np.dtype[np.float64]]:
    if values.dtype.kind not in "biuf":
        reason = why or "as in the training rows"
        raise PerdureError(f"column {column!r} must hold numbers, {reason}; found {values.dtype}")
    numbers: np.ndarray[Any, np.dtype[np.float64]] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        first = values.index[np.isinf(numbers)][0]
        raise PerdureError(
            f"column {column!r} must be finite; {infinite} of {len(numbers)} values are infinite, first row "
            f"{first} (counted from 0)"
        )
    return numbers


@dataclass(frozen=True)
class Category:
    """A categorical column: one column for each value that the training rows hold."""

    column: str | int
    values: tuple[str, ...]

    @classmethod
    def fit(cls, column: str | int, values: pd.Series) -> Category:
        """Learn the values from the training rows."""
        known = tuple(sorted(set(_texts(values))))
        if len(known) > MOST_CATEGORIES:
            raise PerdureError(
                f"column {column!r} must hold at most {MOST_CATEGORIES} categories; found {len(known)} "
                "(leave it out with `drop`)"
            )
        return cls(column, known)

    def encode(self, values: pd.Series) -> Floats:
        """Return 1 in the column of each row's value, ``[n, values]``; all 0 for one that is not known."""
        place = {value: i for i, value in enumerate(self.values)}
        index = np.array([place.get(text, -1) for text in _texts(values)], dtype=np.int64)
        one_hot: Floats = (index[:, None] == np.arange(len(self.values))).astype(np.float32)
        return one_hot


@dataclass(frozen=True)
class Encoder:
    """All feature columns of a table."""

    columns: tuple[Number | Category, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, categorical: Sequence[str | int] | None = None) -> Encoder:
        """Learn from the training rows how to encode; ``categorical`` as for ``table``."""
        made: list[Number | Category] = []
        for column in frame.columns:
            values = frame[column]
            number = values.dtype.kind in "biuf" if categorical is None else column not in categorical
            made.append(Number.fit(column, values) if number else Category.fit(column, values))
        return cls(tuple(made))

    def encode(self, frame: pd.DataFrame) -> Floats:
        """Return all features, ``[n, features]`` float32."""
        return np.concatenate([column.encode(frame[column.column]) for column in self.columns], axis=1)
