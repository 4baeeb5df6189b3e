"""What a stream looks like in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

# Tasks that are written out.
SHOWN = 5


def in_lines(stream: Stream) -> str:
    """Return five lines: name and setting, tasks with their samples, inputs, outputs, objective."""
    shown = [f"{task.name} ({task.sizes})" for task in stream.tasks[:SHOWN]]
    tasks = ", ".join(shown) + (f" and {len(stream) - SHOWN} more" if len(stream) > SHOWN else "")
    number = f"{len(stream)} task{'s' if len(stream) > 1 else ''}"
    lines = [f"Stream {stream.name}: {number}, {stream.setting} setting{', online' if stream.online else ''}"]
    lines += [f"  {title}: {value}" for title, value in _facts(stream, tasks)]
    return "\n".join(lines)


def _facts(stream: Stream, tasks: str) -> list[tuple[str, str]]:
    asked = list(dict.fromkeys(f"{t.objective} ({t.objective.metric})" for t in stream))
    return [
        ("tasks (training + validation + test)", tasks),
        ("input shape", str(list(stream.input_shape))),
        ("outputs", str(stream.outputs)),
        ("objective", ", ".join(asked)),
    ]


def in_html(stream: Stream) -> str:
    """Return a table with a row for each task, and the lines of :func:`in_lines` that are about all."""
    title, _, *rest = in_lines(stream).splitlines()
    rows = [
        _row("td", (task.name, task.sizes, _places(task.outputs), str(task.objective))) for task in stream
    ]
    head = _row("th", ("task", "training + validation + test samples", "outputs", "objective"))
    about = "<br>".join(escape(line.strip()) for line in rest)
    return f"<p><b>{escape(title)}</b><br>{about}</p><table>{head}{''.join(rows)}</table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _places(outputs: Sequence[int]) -> str:
    in_a_row = len(outputs) > 2 and list(outputs) == list(range(outputs[0], outputs[0] + len(outputs)))
    return f"{outputs[0]}-{outputs[-1]}" if in_a_row else ", ".join(map(str, outputs))
