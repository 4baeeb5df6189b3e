"""The columns of a table made fit to learn from: dates, stray texts, texts that are nearly all different."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Hashable
from functools import partial
from typing import TYPE_CHECKING, Literal

from perdure.core.errors import PerdureError
from perdure.scenarios.sources.columns import check_flat

if TYPE_CHECKING:
    import pandas as pd

Period = Literal["year", "quarter", "month"]
# How a period is called: 2024, 2024-Q3, 2024-07.
FORMS = {"year": "{0.year}", "quarter": "{0.year}-Q{0.quarter}", "month": "{0.year}-{0.month:02}"}
# A date as ISO 8601 writes it, also with slashes, and perhaps a time.
DATE = re.compile(r"\d{4}(-\d{1,2}-\d{1,2}|/\d{1,2}/\d{1,2})([ T]\d{1,2}:\d{2}.*)?")
# Texts of more different values than this are left out when the values are most of the rows' own.
MOST_TEXTS = 20
# Share of a column's cells that must be numbers for the others to be strays.
NUMBERS = 0.9


def tidy(
    train: pd.DataFrame, test: pd.DataFrame | None, categorical: Collection[Hashable] | None
) -> tuple[pd.DataFrame, pd.DataFrame | None, list[str]]:
    """Return feature columns that are numbers or categories, in both tables, and what was done to them.

    Dates become numbers of days. In a column of numbers, a few cells with texts count as missing. Texts that
    are nearly all different (names, identifiers) are left out.

    Parameters
    ----------
    train, test:
        The feature columns.
    categorical:
        Columns that stay as they are, whatever they hold; ``None`` where the user named none.
    """
    notes = []
    train, test = train.copy(), None if test is None else test.copy()
    for column in train.columns:
        values = train[column]
        check_flat(column, values)
        if column in (categorical or ()):
            continue
        if days_of(values) is not None:
            notes.append(f"column {column!r} holds dates: it becomes a number of days")
            _replace(column, train, test, partial(_days, column))
        elif strays := _strays(values):
            notes.append(
                f"column {column!r} holds numbers, but {len(strays)} of {len(values)} cells hold texts, such "
                f"as {strays[0]!r}: these count as missing"
            )
            _replace(column, train, test, _numbers)
        elif categorical is None and _nearly_unique(values):
            notes.append(
                f"column {column!r} is left out: its texts take {values.nunique()} different values in "
                f"{len(values)} rows (`categorical` keeps it)"
            )
            for frame in (train, test):
                if frame is not None:
                    del frame[column]
    return train, test, notes


def _replace(
    column: Hashable,
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    change: Callable[[pd.Series], pd.Series],
) -> None:
    for frame in (train, test):
        if frame is not None:
            frame[column] = change(frame[column])


def _is_text(values: pd.Series) -> bool:
    """Return whether a column holds objects or texts, not numbers, dates, or categories that say so."""
    return values.dtype.kind == "O" and not hasattr(values.dtype, "categories")


# ---- dates --------------------------------------------------------------------------------------------


def dates_of(values: pd.Series) -> pd.Series | None:
    """Return the dates that a column holds, without a time zone; ``None`` where it holds others."""
    import pandas as pd

    if values.dtype.kind != "M":
        present = values.dropna() if _is_text(values) else values[:0]
        texts = all(isinstance(value, str) and DATE.fullmatch(value.strip()) for value in present)
        if not len(present) or not (texts or all(isinstance(v, datetime.date) for v in present)):
            return None
        values = values.str.strip().str.replace("/", "-") if texts else values
    dates = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    return dates if bool((dates.isna() == values.isna()).all()) else None


def days_of(values: pd.Series) -> pd.Series | None:
    """Return dates as days since 1970, which may be broken; ``None`` where a column holds others."""
    import pandas as pd

    dates = dates_of(values)
    return None if dates is None else (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)


def _days(column: Hashable, values: pd.Series) -> pd.Series:
    days = days_of(values) if values.notna().any() else values.astype("float64")
    if days is None:
        raise PerdureError(
            f"column {column!r} must hold dates, as in the training rows; found {_odd(values)!r}"
        )
    return days


def _odd(values: pd.Series) -> object:
    return next((v for v in values.dropna() if not DATE.fullmatch(str(v).strip())), values.dropna().iloc[0])


def periods_of(column: Hashable, values: pd.Series, period: Period) -> pd.Series:
    """Return the year, quarter or month of each date of a column, as ``2024``, ``2024-Q3``, ``2024-07``."""
    dates = dates_of(values)
    if dates is None or dates.isna().any():
        raise PerdureError(
            f"column {column!r} must hold a date in every row, for tasks by {period}; found {_odd(values)!r}"
        )
    return dates.map(FORMS[period].format)


# ---- texts --------------------------------------------------------------------------------------------


def _numbers(values: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_numeric(values, errors="coerce").astype("float64")


def _strays(values: pd.Series) -> list[object]:
    """Return the cells of a column of numbers that hold texts, where they are few; else nothing."""
    if not _is_text(values):
        return []
    there, numbers = values.notna(), _numbers(values)
    strays = values[there & numbers.isna()]
    few = len(strays) <= (1 - NUMBERS) * int(there.sum()) and numbers.nunique() > 1
    return list(strays) if few else []


def _nearly_unique(values: pd.Series) -> bool:
    number = values.nunique() if _is_text(values) else 0
    return number > MOST_TEXTS and number > values.notna().sum() / 2
