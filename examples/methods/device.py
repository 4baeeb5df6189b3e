"""A policy that learns to use a phone, layout after layout: what is forgotten.

python examples/methods/device.py    (writes the table and the figure of docs/agents.md)
"""

from __future__ import annotations

import time

from table import DOCS, cell, markdown, marked, put

from perdure import Results, compare

PAGE = DOCS / "agents.md"
STREAM = "device-layouts(tasks=4, instances={0}, episodes=100)"
METHODS = ["naive", "ewc", "replay(capacity=1000)", "joint"]
STRENGTHS = {"ewc.strength": [10.0, 1000.0]}


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


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    """Write the table and the figure; ``quick`` learns from an instance of each template, once."""
    start = time.perf_counter()
    if write:
        marked("device layouts", PAGE)
    results = compare(
        STREAM.format(1 if quick else 20), METHODS[:1] if quick else METHODS, seeds=2 if quick else seeds,
        epochs=1 if quick else 15, tune={} if quick else STRENGTHS, quiet=True,
    )  # fmt: skip
    text = markdown([row(results, method) for method in results.strategies])
    if write:
        put("device layouts", text, PAGE)
        results.plot_forgetting(DOCS / "device_layouts.png")
    print(f"{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
    return text


if __name__ == "__main__":
    main()
