"""A table that prints whole. Importing this file loads pandas."""

from __future__ import annotations

import pandas as pd


class Whole(pd.DataFrame):  # type: ignore[misc]  # pandas has no types here
    """A DataFrame whose text and HTML leave out no row and no column and cut no name."""

    @property
    def _constructor(self) -> type[Whole]:
        return Whole

    def __repr__(self) -> str:
        return str(self.to_string(index_names=False))

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return str(self.to_html(index_names=False))
