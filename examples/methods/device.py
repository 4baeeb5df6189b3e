"""A policy that learns to use a phone, layout after layout and app after app: what is forgotten.

python examples/methods/device.py            (writes the tables and the figures of docs/agents.md)
python examples/methods/device.py apps       (one of them)
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from table import DOCS, cell, markdown, marked, put

from perdure import Results, compare

PAGE = DOCS / "agents.md"
METHODS = ["naive", "ewc", "replay(capacity=1000)"]
STRENGTHS = {"ewc.strength": [10.0, 1000.0]}


class Case(NamedTuple):
    """A stream, how it is learned (instances of each template, epochs, those of joint, rate), and its figure.

    Joint has as many steps as the others have on all tasks together where it passes over its samples as often
    as they do; that is too few for it to learn four layouts in.
    """

    stream: str
    instances: int
    epochs: int
    joint: int
    lr: float
    figure: str


CASES = {
    "layouts": Case(
        "device-layouts(tasks=4, instances={0}, episodes=100)", 20, 15, 60, 0.001,
        "Share of episodes solved in each of four layouts after each was learned",
    ),
    "apps": Case(
        "device-apps(tasks=4, instances={0}, episodes=100)", 10, 15, 30, 0.003,
        "Share of episodes solved in each of four apps after each was learned",
    ),
}  # fmt: skip


def learn(case: Case, seeds: int, quick: bool) -> Results:
    """Return the results of all methods; ``quick`` learns from an instance of each template, once."""
    if quick:
        return compare(case.stream.format(1), METHODS[:1], seeds=seeds, epochs=1, quiet=True)
    stream = case.stream.format(case.instances)
    learners = compare(
        stream, METHODS, seeds=seeds, epochs=case.epochs, lr=case.lr, tune=STRENGTHS, quiet=True
    )
    return learners + compare(stream, "joint", seeds=seeds, epochs=case.joint, lr=case.lr, quiet=True)


def row(results: Results, method: str) -> dict[str, str]:
    """Lay out the share of episodes solved, when learned and at the end, and what was forgotten."""
    chosen = results.extras[method].get("chosen", {})
    found = {"method": method, "chosen": ", ".join(f"{v:g}" for v in chosen.values()) or "-"}
    metrics = {"solved at the end": "average_accuracy"}
    if method != "joint":
        metrics |= {"when learned": "learning_accuracy", "forgetting": "forgetting"}
    return found | {
        title: cell(results.metric(metrics[title], method), 2) if title in metrics else "-"
        for title in ("solved at the end", "when learned", "forgetting")
    }


def main(*names: str, seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    """Write the tables and the figures of some cases, by default of all; return the last table."""
    text = ""
    for name in names or CASES:
        start = time.perf_counter()
        if write:
            marked(f"device {name}", PAGE)
        results = learn(CASES[name], seeds, quick)
        text = markdown([row(results, method) for method in results.strategies])
        if write:
            figure = DOCS / f"device_{name}.png"
            results.plot_forgetting(figure)
            put(f"device {name}", f"{text}\n\n![{CASES[name].figure}]({figure.name})", PAGE)
        print(f"{name}\n{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
