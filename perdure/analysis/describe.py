"""Results in a few lines of text, and in HTML for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis.diverged import remark, survivors
from perdure.analysis.metrics.labels import heading
from perdure.analysis.metrics.matrix import average_accuracy
from perdure.analysis.summary import summary

if TYPE_CHECKING:
    from perdure.analysis.record import Record

WIDTH = 100  # characters of a line


def text(results: Record) -> str:
    """Five lines: stream, strategies, seeds, tasks, average accuracy of each strategy."""
    strategies, seeds, tasks = results.strategies, results.seeds, results.tasks
    scores = [_score(results, name) for name in strategies]
    return "\n".join(
        [
            f"Results of {title(results)}",
            f"  strategies ({len(strategies)}): {listed(strategies)}",
            f"  seeds ({len(seeds)}): {listed([str(seed) for seed in seeds])}",
            f"  tasks ({len(tasks)}): {listed(tasks)}",
            f"  {heading(results, 'average_accuracy')}: {listed(scores)}",
        ]
    )


def page(results: Record) -> str:
    """Return the summary as an HTML table under the same facts."""
    facts = f"{len(results.seeds)} seeds, {len(results.tasks)} tasks: mean [95 % interval]"
    head = f"<p><strong>{html.escape(title(results))}</strong>, {facts}</p>"
    return head + str(summary(results)._repr_html_())


def title(results: Record) -> str:
    """Stream and setting, where they are known."""
    stream, setting = (results.config.get(key) for key in ("stream", "setting"))
    return f"{stream or 'a stream without a name'}{f' ({setting} setting)' if setting else ''}"


def listed(names: Sequence[str], width: int = WIDTH) -> str:
    """Join as many names as fit into a line, none of them cut, and count the others.

    >>> listed(["naive", "ewc", "replay"], 12)
    'naive, ewc and 1 more'
    """
    shown, room = 0, width
    while shown < len(names) and (room := room - len(names[shown]) - 2) >= -2:
        shown += 1
    shown = max(shown, 1)
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more else "")


def _score(results: Record, name: str) -> str:
    values = average_accuracy(survivors(results, name))
    mark = remark(results, name)
    score = f"{name} {np.mean(values):.3f}" if len(values) else name
    return f"{score} ({mark})" if mark else score
