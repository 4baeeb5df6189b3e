"""Gain over a model per task on MultiTab-Bench: against correlation, degree and number of tasks.

python examples/methods/multitab.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from table import MULTITASK, cell, markdown, put

from perdure import Results, compare

METHODS = ["shared-bottom", "mmoe", "ple", "multitab-net"]
RATES = {"lr": [0.001, 0.003, 0.01]}
SETTINGS = {"model": "mlp(hidden=[64, 64])", "optimizer": "adam", "batch_size": 64, "quiet": True}
CORRELATIONS, DEGREES, COUNTS = (0.0, 0.2, 0.4, 0.6, 0.8), (1, 2, 3, 4), (8, 16, 64)
EPOCHS = 15
# With experts or a token for each of many tasks these take as long as all others together.
LARGE, MOST_TOKENS = ("ple", "multitab-net"), 40


def stream(samples: int, **knobs: object) -> str:
    given = {"features": 8, "samples": samples, "test_samples": 1000, "val_samples": 500, **knobs}
    return f"multitab-bench({', '.join(f'{k}={v}' for k, v in given.items())})"


def learn(spec: str, methods: list[str], seeds: int, epochs: int) -> Results:
    rates = RATES if epochs > 1 else {}
    return compare(spec, ["single", *methods], tune=rates, seeds=seeds, epochs=epochs, **SETTINGS)


def row(title: str, value: object, results: Results, methods: list[str]) -> dict[str, str]:
    """R2 of a model per task, and how much others are above it: in hundredths, mean over tasks."""
    alone = results.metric("average_accuracy", "single")
    found = {title: str(value), "single, R2": cell(alone)}
    for name in methods:
        gain = (
            100 * (results.metric("average_accuracy", name) - alone) if name in results.scores else [np.nan]
        )
        found[name] = cell(gain, 1) if np.isfinite(gain).all() else "–"
    return found


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    samples, epochs = (200, 1) if quick else (1000, EPOCHS)
    methods = METHODS[:1] if quick else METHODS
    tables: dict[str, list[tuple[object, dict[str, Any]]]] = {
        "correlation": [(p, {"correlation": p}) for p in CORRELATIONS],
        "degree": [(d, {"degrees": d}) for d in DEGREES],
        "number of tasks": [(t, {"tasks": t, "features": max(8, t), "degrees": "mixed"}) for t in COUNTS],
    }
    texts = []
    for name, given in tables.items():
        rows = []
        for value, knobs in given[: 1 if quick else None]:
            some = [m for m in methods if m not in LARGE or knobs.get("tasks", 0) <= MOST_TOKENS]
            rows.append(row(name, value, learn(stream(samples, **knobs), some, seeds, epochs), methods))
            print(markdown(rows[-1:]), flush=True)
        texts.append(markdown(rows))
        if write:
            put(name, texts[-1], MULTITASK)
    return "\n\n".join(texts)


if __name__ == "__main__":
    main()
