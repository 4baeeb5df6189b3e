"""Tables, CSV, Parquet or data frames: a label column, numeric and categorical features."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.objectives import as_objective
from perdure.scenarios.source import SOURCES, Source, set_aside
from perdure.scenarios.sources.columns import Encoder, codes, names_of, read_label
from perdure.scenarios.sources.files import existing, readable
from perdure.scenarios.sources.tidy import Period, dates_of, periods_of, tidy

if TYPE_CHECKING:
    import pandas as pd
    from pandas import DataFrame
else:

    class _Frames(type):
        def __instancecheck__(cls, value: object) -> bool:
            pandas = sys.modules.get("pandas")
            return pandas is not None and isinstance(value, pandas.DataFrame)

    class DataFrame(metaclass=_Frames):
        """A data frame of pandas, known as such without the time that importing pandas takes."""


__all__ = ["Column", "DataFrame", "columns_of", "from_frames", "read_both", "read_frame", "table"]

Column: TypeAlias = str | int
SPACES = r"\s+"  # any run of them


@SOURCES.register("table")
def table(
    path: str | Path | DataFrame,
    label: Column = -1,
    *,
    objective: Objective | str | None = None,
    test: str | Path | DataFrame | None = None,
    categorical: Sequence[Column] | Column | None = None,
    drop: Sequence[Column] | Column = (),
    domain: Column | None = None,
    by: Period | None = None,
    header: bool = True,
    separator: str = ",",
) -> Source:
    """Make a source of a table of samples: a file or a data frame.

    Numbers are standardised with the mean and deviation of the training rows; a missing one becomes their
    median, and a column of its own says so. A category becomes one column for each value that the training
    rows hold; a missing one is a value too, and one that they do not hold is zero everywhere. Empty fields
    of a file and its ``?`` are missing. What is done beyond this stands in the notes, which results repeat
    as warnings: dates become numbers of days; in a column of numbers, texts in a few cells count as missing;
    texts that are nearly all different (names, identifiers) are left out.

    Parameters
    ----------
    path:
        The table: a data frame, or a file, CSV (also as ``.gz``) or Parquet when the name ends in
        ``.parquet``.
    label:
        The column of the labels, by name or by place (negative: from the end), without missing values. Real
        numbers that are not all whole are targets of a regression; anything else is classes, numbered in the
        order of the values.
    objective:
        What the tasks ask for, where the label does not say it: an :class:`Objective`, or a name such as
        ``"regression"``, ``"regression(r2)"`` or ``"classification(f1)"``.
    test:
        A table with the same columns as the test part. Default: 20 % of every class is set aside.
    categorical:
        Columns to take as categories. Default: those that do not hold numbers.
    drop:
        Columns to leave out, such as identifiers.
    domain:
        A column whose values are tasks for ``split``. It is no feature: it would give the task away.
    by:
        ``"year"``, ``"quarter"`` or ``"month"``: the tasks are those of the dates in the column ``domain``;
        default: the one column that holds dates.
    header:
        False when the first line holds data; columns then go by their place alone.
    separator:
        The character between the fields of a CSV; ``r"\\s+"`` for any run of spaces.

    Raises
    ------
    PerdureError
        When a file cannot be read, a column does not exist, a label is missing, values are infinite.
    """
    name, frame, frame_test = read_both(path, test, header, separator)
    column = None if domain is None else _column(frame, domain)
    return from_frames(
        name,
        frame,
        frame_test,
        label=_column(frame, label),
        objective=as_objective(objective),
        categorical=None if categorical is None else columns_of(frame, categorical),
        drop=columns_of(frame, drop),
        domain=column if by is None or column is not None else _only_dates(frame),
        by=by,
    )


def read_both(
    path: str | Path | DataFrame, test: str | Path | DataFrame | None, header: bool, separator: str
) -> tuple[str, pd.DataFrame, pd.DataFrame | None]:
    """Return the name of a table, its rows, and those of its test table; parameters as for :func:`table`."""
    frame = _frame(path, header, separator)
    frame_test = None if test is None else _frame(test, header, separator)
    if frame_test is not None and list(frame_test.columns) != list(frame.columns):
        raise PerdureError(
            f"the columns of {_title(test)} must be those of {_title(path)}; found {list(frame_test.columns)}"
        )
    name = _title(path) if isinstance(path, DataFrame) else _stem(Path(path))
    return name, frame, frame_test


def _title(table: str | Path | DataFrame | None) -> str:
    return "table" if isinstance(table, DataFrame) else str(table)


def _stem(place: Path) -> str:
    return place.name.removesuffix(".gz").removesuffix(place.suffix).split(".")[0] or place.name


def _frame(table: str | Path | DataFrame, header: bool, separator: str) -> pd.DataFrame:
    """Return a data frame as it is, or read a file."""
    if not isinstance(table, DataFrame):
        return read_frame(existing(table, "table"), header, separator)
    if not len(table):
        raise PerdureError("table: expected a data frame with rows; found none")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise PerdureError(f"table: the names of the columns must differ; {twice[0]!r} is there twice")
    return table.reset_index(drop=True)


def _only_dates(frame: pd.DataFrame) -> Column:
    dated = [column for column in frame.columns if dates_of(frame[column]) is not None]
    if len(dated) != 1:
        raise PerdureError(
            f"`by` needs a column of dates: name it as `domain`; found {len(dated) or 'none'}"
            + (f": {', '.join(map(str, dated))}" if dated else "")
        )
    return dated[0]  # type: ignore[no-any-return]


def read_frame(
    path: Path,
    header: bool = True,
    separator: str = ",",
    names: Sequence[str] | None = None,
    comment: str | None = None,
) -> pd.DataFrame:
    """Read a table as it is; ``?`` and empty fields are missing, spaces before a value are left out."""
    import pandas as pd

    text = separator if isinstance(separator, str) else ""
    if text != SPACES and (len(text) != 1 or text in '"\r\n'):
        raise PerdureError(f"`separator` must be one character, or {SPACES!r}; found {separator!r}")
    with readable(path):
        if path.name.endswith(".parquet"):
            frame = pd.read_parquet(path)
            titles = list(frame.columns)
        else:
            titled = header and names is None
            read = partial(pd.read_csv, path, sep=separator, comment=comment, skipinitialspace=True)
            # Pandas gives columns of one name other names: the line itself says what they are called.
            titles = read(header=None, nrows=1, dtype=str).iloc[0].dropna().tolist() if titled else []
            with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
                # Without a column for the index: a line that is too long would silently become one.
                frame = read(
                    header=0 if titled else None,
                    names=None if names is None else list(names),
                    na_values=["?"],
                    index_col=False,
                    low_memory=False,
                )
    if not len(frame):
        raise PerdureError(f"{path}: expected a table with rows; found none")
    twice = sorted({str(title) for title in titles if titles.count(title) > 1})
    if twice:
        raise PerdureError(f"{path}: the names of the columns must differ; {twice[0]!r} is there twice")
    return frame.reset_index(drop=True)


def columns_of(frame: pd.DataFrame, columns: Sequence[Column] | Column) -> list[Column]:
    """Return the keys of the columns of a list; a single one is a list of one."""
    if isinstance(columns, (str, int)):
        columns = [columns]
    if not isinstance(columns, Sequence):
        raise PerdureError(f"expected a list of columns; found {columns!r}")
    return [_column(frame, column) for column in columns]


def _column(frame: pd.DataFrame, column: Column) -> Column:
    """Return the key of a column that a user named, or counted."""
    if isinstance(column, str) and column in frame.columns:
        return column
    if (
        isinstance(column, int)
        and not isinstance(column, bool)
        and -frame.shape[1] <= column < frame.shape[1]
    ):
        return frame.columns[column]  # type: ignore[no-any-return]
    shown = ", ".join(map(str, frame.columns[:20])) + (", ..." if frame.shape[1] > 20 else "")
    raise PerdureError(f"there is no column {column!r}: expected one of {shown} or its place")


def from_frames(
    name: str,
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    *,
    label: Column,
    objective: Objective | None = None,
    categorical: Sequence[Column] | None = None,
    drop: Sequence[Column] = (),
    domain: Column | None = None,
    by: Period | None = None,
) -> Source:
    """Make a source of data frames; parameters as for :func:`table`, columns by their keys."""
    if domain is not None and domain == label:
        raise PerdureError(f"label and domain must be different columns; found {label!r} for both")
    left_out = [label, *drop, *([] if domain is None else [domain])]
    features, features_test, notes = tidy(
        train.drop(columns=left_out), None if test is None else test.drop(columns=left_out), categorical
    )
    goal, y, y_test, classes, doubts = read_label(label, train, test, objective)
    tasks, tasks_test, names = (None,) * 3 if domain is None else _domains(domain, train, test, by)
    if features_test is None or y_test is None:
        rest, held = set_aside(y, tasks)
        y, y_test = y[rest], y[held]
        features, features_test = features.iloc[rest.numpy()], features.iloc[held.numpy()]
        if tasks is not None:
            tasks, tasks_test = tasks[rest], tasks[held]
    if not features.shape[1]:
        why = f": {notes[0]}" if notes else "; found none"
        raise PerdureError(f"source {name!r} must have a feature column beside the label{why}")
    encoder = Encoder.fit(features, categorical)
    x, x_test = (torch.from_numpy(encoder.encode(part)) for part in (features, features_test))
    return Source(
        name,
        x,
        y,
        x_test,
        y_test,
        classes,
        domain=tasks,
        domain_test=tasks_test,
        domain_names=names,
        notes=(*doubts, *notes),
        objective=goal,
    )


def _domains(
    column: Column, train: pd.DataFrame, test: pd.DataFrame | None, by: Period | None
) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """Return the task of each training and test row, and the names of the tasks."""

    def values(frame: pd.DataFrame) -> pd.Series:
        found = names_of(frame, column)
        return found if by is None else periods_of(column, found, by)

    found = values(train)
    alone = found[~found.duplicated(keep=False)]
    if test is None and len(alone):
        dated = by is None and dates_of(found) is not None
        hint = "; `by` makes tasks of dates: 'year', 'quarter' or 'month'" if dated else ""
        raise PerdureError(
            f"domain column {column!r} must hold each value, a task, in several rows; found "
            f"{str(alone.iloc[0])!r} in one{hint}"
        )
    tasks, names = codes(f"domain column {column!r}", found)
    if test is None:
        return tasks, None, names
    return tasks, codes(f"domain column {column!r} of the test table", values(test), names)[0], names
