"""Several columns of one table as the tasks of a stream, over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from perdure.core.checks import check_number, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.draws import Draws
from perdure.scenarios.objectives import as_objective
from perdure.scenarios.source import TEST_SHARE, Source
from perdure.scenarios.sources.tables import Column, DataFrame, columns_of, from_frames, read_both
from perdure.scenarios.strata import holdout

if TYPE_CHECKING:
    import pandas as pd


@checked
def table_targets(
    path: str | Path | DataFrame,
    labels: Sequence[Column],
    *,
    objectives: Sequence[str | None] | None = None,
    test: str | Path | DataFrame | None = None,
    categorical: Sequence[Column] | Column | None = None,
    drop: Sequence[Column] | Column = (),
    header: bool = True,
    separator: str = ",",
    val: float = 0.1,
    seed: int = 0,
) -> Stream:
    """Make a task of each of some columns of a table, over the same rows, in the task setting.

    The other columns are the features, as for ``table``. Each task has outputs of its own; all share the
    tensor of their rows.

    Parameters
    ----------
    path, test, categorical, drop, header, separator:
        As for :func:`perdure.scenarios.table`. Without ``test``, 20 % of the rows are set aside.
    labels:
        The columns to predict, two or more, by name or by place.
    objectives:
        What each task asks for, such as ``"regression(r2)"``; ``None`` is for the column to say, as in
        ``table``.
    val:
        Share of the training rows that becomes the validation part.
    seed:
        Decides the validation rows and the order of the training rows.

    Raises
    ------
    PerdureError
        When a file cannot be read, a column does not exist or is named twice, a label is missing.

    Examples
    --------
    >>> import pandas
    >>> numbers = pandas.Series(range(50))
    >>> rows = pandas.DataFrame({"a": numbers, "even": numbers % 2, "half": numbers / 2})
    >>> stream = table_targets(rows, ["even", "half"])
    >>> [(task.name, task.outputs, str(task.objective)) for task in stream]
    [('even', (0, 1), 'Classification()'), ('half', (2,), 'Regression()')]
    """
    name, frame, frame_test = read_both(path, test, header, separator)
    columns = columns_of(frame, labels)
    asked = [None] * len(columns) if objectives is None else list(objectives)
    if len(asked) != len(columns):
        raise PerdureError(f"`objectives` must be one for each of {len(columns)} labels; found {len(asked)}")
    given = None if categorical is None else columns_of(frame, categorical)
    return of_columns(name, frame, frame_test, columns, asked, given, columns_of(frame, drop), val, seed)


def of_columns(
    name: str,
    frame: pd.DataFrame,
    frame_test: pd.DataFrame | None,
    labels: Sequence[Column],
    objectives: Sequence[str | None],
    categorical: Sequence[Column] | None,
    drop: Sequence[Column],
    val: float,
    seed: int,
) -> Stream:
    """Make a stream of data frames; parameters as for :func:`table_targets`, columns by their keys."""
    check_number("`val`", val, high=1, ends="()")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise PerdureError(f"`labels` must be two different columns or more; found {list(labels)}")
    if frame_test is None:
        rest, held = holdout(torch.zeros(len(frame), dtype=torch.int64), TEST_SHARE, Draws(0, "test part"))
        frame_test = frame.iloc[held.sort().values.numpy()].reset_index(drop=True)
        frame = frame.iloc[rest.sort().values.numpy()].reset_index(drop=True)
    sources = [
        from_frames(
            name,
            frame,
            frame_test,
            label=label,
            objective=as_objective(objective),
            categorical=categorical,
            drop=[*(other for other in labels if other != label), *(c for c in drop if c not in labels)],
        )
        for label, objective in zip(labels, objectives, strict=True)
    ]
    return _stream(f"{name}-targets", [str(label) for label in labels], sources, val, seed)


def _stream(name: str, titles: Sequence[str], sources: Sequence[Source], val: float, seed: int) -> Stream:
    first = sources[0]
    train, held = holdout(torch.zeros(len(first.y), dtype=torch.int64), val, Draws(seed, "validation"))
    inputs = first.x[train], first.x[held], first.x_test
    tasks, output = [], 0
    for title, source in zip(titles, sources, strict=True):
        shift = output if source.objective.reads is None else 0
        labels = source.y[train], source.y[held], source.y_test
        parts = [Part(x, y + shift if shift else y) for x, y in zip(inputs, labels, strict=True)]
        own = tuple(range(output, output + source.outputs))
        tasks.append(Task(title, parts[0], parts[1], parts[2], own, source.objective))
        output += source.outputs
    notes = tuple(dict.fromkeys(note for source in sources for note in source.notes))
    return Stream(name, tuple(tasks), "task", output, notes=notes)
