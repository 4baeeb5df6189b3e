"""The main table of results: one row per strategy, as the command line prints it, and in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.analysis.metrics.labels import heading, label
from perdure.analysis.metrics.needs import prefers_higher
from perdure.analysis.tables import marked_cell, means

if TYPE_CHECKING:
    import pandas as pd

    from perdure.analysis.record import Record

MAIN = ("average_accuracy", "forgetting", "learning_accuracy")
MISSING = "-"
CHOSEN = "chosen by tune"
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "≥": r"$\geq$",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def summary(
    results: Record,
    metrics: Sequence[str] | None = None,
    dialect: str = "paper",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """One row per strategy, "mean [low, high]" of each metric as text: what ``Results.summary`` returns."""
    from perdure.analysis.whole import Whole

    wanted = list(MAIN if metrics is None else metrics)
    rows = cells(results, wanted, dialect, confidence)
    columns = {
        heading(results, metric): [rows.get((name, metric), MISSING) for name in results.strategies]
        for metric in wanted
    }
    choices = [chosen(results, name) for name in results.strategies]
    if any(choices):
        columns[CHOSEN] = [choice or MISSING for choice in choices]
    table = Whole(columns, index=results.strategies)
    table.index.name = "strategy"
    return table


def cells(
    results: Record, metrics: Sequence[str], dialect: str, confidence: float
) -> dict[tuple[str, str], str]:
    """Text of every metric that is defined, by strategy and metric."""
    table = means(results, metrics, dialect, confidence)
    return {(row.strategy, row.metric): marked_cell(row) for row in table.itertuples()}


def chosen(results: Record, strategy: str) -> str:
    """What tuning chose for a strategy: ``"lr=0.1, weight_decay=0"``; empty where nothing was tuned."""
    choice = results.extras.get(strategy, {}).get("chosen", {})
    return ", ".join(f"{key}={value:g}" for key, value in choice.items())


def latex(
    results: Record,
    metrics: Sequence[str] | None = None,
    dialect: str = "paper",
    confidence: float = 0.95,
) -> str:
    """Return :func:`summary` as a LaTeX ``tabular`` in the style of booktabs."""
    table = summary(results, metrics, dialect, confidence)
    wanted = MAIN if metrics is None else metrics
    heads = [f"{escape(label(results, name))} ${_arrow(results, name)}$" for name in wanted]
    heads += [escape(name) for name in table.columns[len(heads) :]]
    rows = [
        " & ".join([escape(name), *map(_in_latex, values)]) for name, *values in table.itertuples(name=None)
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * len(wanted)}{'l' * (len(heads) - len(wanted))}}}",
            r"\toprule",
            rf"{' & '.join(['strategy', *heads])} \\",
            r"\midrule",
            # The empty group keeps a name's "[" or "*" from being read as an option of the line before.
            *(rf"{'{}' if row[:1] in ('[', '*') else ''}{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _arrow(results: Record, metric: str) -> str:
    return r"\uparrow" if prefers_higher(results, metric) else r"\downarrow"


def _in_latex(text: str) -> str:
    """Escape a cell; negative numbers get a minus sign and not a hyphen."""
    return "--" if text == MISSING else re.sub(r"(?<!\w)-(?=\d)", "$-$", escape(text))


def escape(text: str) -> str:
    r"""Put what LaTeX would read as a command in a form that it prints.

    >>> print(escape("ewc_2 (50 %)"))
    ewc\_2 (50 \%)
    """
    return "".join(LATEX.get(letter, letter) for letter in text)
