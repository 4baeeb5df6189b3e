"""Adult: census income (UCI)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.errors import unknown
from perdure.scenarios.source import SOURCES, Source
from perdure.scenarios.sources.files import find
from perdure.scenarios.sources.tables import from_frames, read_frame

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
    "income",
)  # fmt: skip


@SOURCES.register("adult")
def adult(label: str = "income", domain: str | None = None) -> Source:
    """Return the census records of 32,561 people for training and 16,281 for testing.

    Read from ``adult_train.csv`` and ``adult_test.csv`` (also ``.gz``) in ``PERDURE_DATA``: UCI's files
    ``adult.data`` and ``adult.test``, without a header. Features as for ``table``.

    Parameters
    ----------
    label:
        The column to predict: ``"income"`` (two classes), or another categorical one, such as
        ``"marital-status"``; income is then a feature.
    domain:
        A column whose values are tasks for ``split``, such as ``"relationship"`` or ``"sex"``; it is then no
        feature. Without one, ``split`` makes a single task of the two incomes.

    Raises
    ------
    PerdureError
        When a file is missing or unreadable, or a column does not exist.
    """
    for column in (label, *([] if domain is None else [domain])):
        if column not in COLUMNS:
            raise unknown("column of adult", str(column), COLUMNS)
    return from_frames("adult", read_adult("train"), read_adult("test"), label=label, domain=domain)


def read_adult(part: str) -> pd.DataFrame:
    """Return the records of a part, ``"train"`` or ``"test"``, as they are."""
    path = find("adult", f"adult_{part}.csv.gz", f"adult_{part}.csv")
    # UCI's test file begins with a line that is no record, and has a dot behind every income.
    frame = read_frame(path, names=COLUMNS, comment="|")
    income = frame["income"].map(lambda value: value.strip().rstrip("."), na_action="ignore")
    return frame.assign(income=income)
