"""Tables of docs/methods.md: rows with intervals, written between the marks that bear a name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from perdure.analysis.statistics import bootstrap_interval

DOCS = Path(__file__).parents[2] / "docs"
PAGE, MULTITASK = DOCS / "methods.md", DOCS / "multitask.md"


def cell(values: Sequence[float], digits: int = 3) -> str:
    """Mean and 95 % bootstrap interval over seeds; one number where all are equal."""
    values = np.asarray(values, dtype=np.float64)
    if np.ptp(values) == 0:
        return f"{values[0]:.{digits}f}"
    low, high = bootstrap_interval(values)
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of equal keys as a table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[k] for k in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def marked(name: str, page: Path = PAGE) -> re.Pattern[str]:
    """Return what a table stands between in a page; end where it is not there once, before hours of work."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    found = len(marks.findall(page.read_text(encoding="utf-8")))
    if found != 1:
        raise SystemExit(f"expected the marks of {name!r} once in {page}; found them {found} times")
    return marks


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands in the page between the marks `name` and its end."""
    after = marked(name, page).sub(lambda m: m[1] + text + "\n" + m[2], page.read_text(encoding="utf-8"))
    page.write_text(after, encoding="utf-8")
