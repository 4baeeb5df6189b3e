"""CSV and Parquet tables: a label column, numeric and categorical features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from perdure.core.errors import PerdureError
from perdure.scenarios.source import SOURCES, Source, set_aside
from perdure.scenarios.sources.columns import Encoder, codes, names_of
from perdure.scenarios.sources.files import existing, readable

if TYPE_CHECKING:
    import pandas as pd

Column: TypeAlias = str | int
SPACES = r"\s+"  # any run of them


@SOURCES.register("table")
def table(
    path: str | Path,
    label: Column = -1,
    *,
    test: str | Path | None = None,
    categorical: Sequence[Column] | Column | None = None,
    drop: Sequence[Column] | Column = (),
    domain: Column | None = None,
    header: bool = True,
    separator: str = ",",
) -> Source:
    """Read a table of samples: CSV, or Parquet when the name ends in ``.parquet``; CSV also as ``.gz``.

    Numbers are standardised with the mean and deviation of the training rows; a missing one becomes their
    median, and a column of its own says so. A category becomes one column for each value that the training
    rows hold; a missing one is a value too, and one that they do not hold is zero everywhere. Empty fields
    and ``?`` are missing.

    Parameters
    ----------
    path:
        The table.
    label:
        The column of the classes, by name or by place (negative: from the end). Any values but missing ones;
        classes are numbered in the order of the values.
    test:
        A table with the same columns as the test part. Default: 20 % of every class is set aside.
    categorical:
        Columns to take as categories. Default: those that do not hold numbers.
    drop:
        Columns to leave out, such as identifiers.
    domain:
        A column whose values are tasks for ``split``. It is no feature: it would give the task away.
    header:
        False when the first line holds data; columns then go by their place alone.
    separator:
        The character between the fields of a CSV; ``r"\\s+"`` for any run of spaces.

    Raises
    ------
    PerdureError
        When a file cannot be read, a column does not exist, a label is missing, values are infinite.
    """
    place = existing(path, "table")
    frame = read_frame(place, header, separator)
    frame_test = None
    if test is not None:
        frame_test = read_frame(existing(test, "table"), header, separator)
        if list(frame_test.columns) != list(frame.columns):
            raise PerdureError(
                f"the columns of {test} must be those of {path}; found {list(frame_test.columns)}"
            )
    name = place.name.removesuffix(".gz").removesuffix(place.suffix).split(".")[0] or place.name
    return from_frames(
        name,
        frame,
        frame_test,
        label=_column(frame, label),
        categorical=None if categorical is None else _columns(frame, categorical),
        drop=_columns(frame, drop),
        domain=None if domain is None else _column(frame, domain),
    )


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


def _columns(frame: pd.DataFrame, columns: Sequence[Column] | Column) -> list[Column]:
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
    categorical: Sequence[Column] | None = None,
    drop: Sequence[Column] = (),
    domain: Column | None = None,
) -> Source:
    """Make a source of data frames; parameters as for :func:`table`, columns by their keys."""
    if domain is not None and domain == label:
        raise PerdureError(f"label and domain must be different columns; found {label!r} for both")
    values, values_test = names_of(train, label), None if test is None else names_of(test, label)
    groups = None if domain is None else names_of(train, domain)
    groups_test = None if domain is None or test is None else names_of(test, domain)
    y, classes = codes(f"label column {label!r}", values)
    tasks = None if groups is None else codes(f"domain column {domain!r}", groups)
    if test is None:
        rest, held = set_aside(y, None if tasks is None else tasks[0])
        train, test = train.iloc[rest.numpy()], train.iloc[held.numpy()]
        y, y_test = y[rest], y[held]
        domains = None if tasks is None else (tasks[0][rest], tasks[0][held], tasks[1])
    else:
        assert values_test is not None
        y_test, _ = codes(f"label column {label!r} of the test table", values_test, classes)
        domains = None
        if tasks is not None and groups_test is not None:
            where = f"domain column {domain!r} of the test table"
            domains = (tasks[0], codes(where, groups_test, tasks[1])[0], tasks[1])
    left_out = [label, *drop, *([] if domain is None else [domain])]
    encoder = Encoder.fit(name, train.drop(columns=left_out), categorical)
    x, x_test = (torch.from_numpy(encoder.encode(part.drop(columns=left_out))) for part in (train, test))
    if domains is None:
        return Source(name, x, y, x_test, y_test, classes)
    return Source(
        name,
        x,
        y,
        x_test,
        y_test,
        classes,
        domain=domains[0],
        domain_test=domains[1],
        domain_names=domains[2],
    )
