"""Income and marital status of Adult, two tasks over the same people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from perdure.core.checks import checked
from perdure.core.errors import PerdureError, unknown
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.table_targets import of_columns
from perdure.scenarios.sources.uci_adult import COLUMNS, read_adult

if TYPE_CHECKING:
    import pandas as pd

TARGETS = ("income", "marital-status")


@checked
def adult_two_targets(
    marital: Literal["status", "never-married"] = "status",
    drop: Sequence[str] = ("relationship",),
    *,
    val: float = 0.1,
    seed: int = 0,
) -> Stream:
    """Make two classifications of the people in Adult: income (two classes) and marital status (seven).

    Read as the source ``adult`` is. Both tasks share the tensor of their rows, 32,561 for training and
    validation and 16,281 for testing, whose features are those of ``adult`` without the two; each has
    outputs of its own.

    Parameters
    ----------
    marital:
        ``"never-married"``: whether a person was ever married, two classes, as in the literature on sharing.
    drop:
        Columns that are no features. A husband or wife, as ``relationship`` says, is married: with it, the
        second task is nearly solved.
    val:
        Share of the training rows that becomes the validation part.
    seed:
        Decides the validation rows and the order of the training rows.

    Raises
    ------
    PerdureError
        When a file is missing or unreadable, or a column does not exist or is a target.

    Source: UCI Adult; the pair of targets follows Ma et al., KDD 2018 (MMoE), who use another census.
    """
    for column in drop:
        if column not in COLUMNS:
            raise unknown("column of adult", column, COLUMNS)
        if column in TARGETS:
            raise PerdureError(f"`drop` must leave the targets, {' and '.join(TARGETS)}; found {column!r}")
    train, test = read_adult("train"), read_adult("test")
    if marital == "never-married":
        train, test = _never(train), _never(test)
    return of_columns("adult", train, test, TARGETS, [None, None], None, drop, val, seed)


def _never(frame: pd.DataFrame) -> pd.DataFrame:
    single = frame["marital-status"].eq("Never-married")
    return frame.assign(**{"marital-status": single.map({True: "never", False: "once"})})
