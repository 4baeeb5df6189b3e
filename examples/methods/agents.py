"""Policies that learn one environment after the other: what is forgotten, and which method keeps it.

python examples/methods/agents.py             (writes the tables and the figures of docs/agents.md)
python examples/methods/agents.py cartpole    (one of them)
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from table import DOCS, cell, markdown, marked, put

from perdure import PerdureError, Results, compare
from perdure.scenarios import Stream, get

PAGE = DOCS / "agents.md"
STRENGTHS = [1.0, 100.0, 10_000.0]


class Case(NamedTuple):
    """A stream, and how often it is scored."""

    stream: str
    tasks: int
    steps: int
    eval_every: int


CASES = {
    "cartpole": Case("cartpole-physics", 3, 30_000, 468),
    "grid world": Case("grid-world-goals", 3, 30_000, 96),
    "pendulum": Case("pendulum-physics", 2, 60_000, 1920),
}
# What each chooses from, on validation episodes.
METHODS: dict[str, dict[str, list[float]]] = {
    "naive": {},
    "ewc": {"ewc.strength": STRENGTHS},
    "online-ewc": {"online-ewc.strength": STRENGTHS},
    "si": {"si.strength": STRENGTHS},
    "mas": {"mas.strength": [0.01, 1.0, 100.0]},
    "replay(capacity=2000)": {},
    "adaptive-svd": {},
    "packnet": {},
    "clr": {},
    "joint": {},
    "single": {},
}

QUICK: dict[str, dict[str, list[float]]] = {"ewc": {"ewc.strength": [1.0, 10.0]}, "clr": {}}


def learn(case: Case, seeds: int, quick: bool) -> tuple[Results, dict[str, str]]:
    """Return the results of all methods that a policy can be protected by, and what the others say."""

    def stream(steps: int) -> Stream:
        return get(f"{case.stream}(tasks={case.tasks}, steps={steps}, episodes=10, setting=task)")

    refused, tried = {}, QUICK if quick else METHODS
    for method in tried:
        try:
            compare(stream(1), method, seeds=1, quiet=True)
        except PerdureError as refusal:
            refused[method] = str(refusal)
    methods = {method: grid for method, grid in tried.items() if method not in refused}
    results = compare(
        stream(1 if quick else case.steps), list(methods), seeds=seeds, quiet=True,
        tune={key: values for grid in methods.values() for key, values in grid.items()},
        eval_every=None if quick else case.eval_every,
    )  # fmt: skip
    return results, refused


def row(results: Results, method: str) -> dict[str, str]:
    """Lay out returns, forgetting and transfer of a method."""
    chosen, small = results.extras[method].get("chosen", {}), results.config["info"]["best"] < 10
    found = {"method": method, "chosen": ", ".join(f"{v:g}" for v in chosen.values()) or "-"}
    for title, metric in {
        "return at the end": "average_accuracy", "when learned": "learning_accuracy",
        "forgetting": "forgetting", "forward transfer": "rl_forward_transfer",
    }.items():  # fmt: skip
        try:
            found[title] = cell(results.metric(metric, method), 2 if small or "transfer" in title else 1)
        except PerdureError:
            found[title] = "-"
    return found


def main(seeds: int = 5, write: bool = True, quick: bool = False, only: str = "") -> str:
    """Write the tables and figures; ``quick`` learns from one rollout of a task."""
    texts = []
    for name, case in CASES.items():
        if name != only and (only or (quick and texts)):
            continue
        start = time.perf_counter()
        if write:
            marked(name, PAGE)
        results, refused = learn(case, 2 if quick else seeds, quick)
        lines = [row(results, method) for method in results.strategies]
        text = markdown(lines) + "".join(f"\n\n`{method}`: {line}." for method, line in refused.items())
        if write:
            put(name, text, PAGE)
            results.plot_forgetting(DOCS / f"agents_{name.replace(' ', '_')}.png")
        print(f"{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
        texts.append(text)
    return "\n".join(texts)


if __name__ == "__main__":
    main(only=sys.argv[1] if len(sys.argv) > 1 else "")
