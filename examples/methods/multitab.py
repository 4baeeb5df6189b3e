"""Gain over a model per task on MultiTab-Bench: against correlation, degree and number of tasks.

python examples/methods/multitab.py
"""

from __future__ import annotations

import numpy as np
from table import MULTITASK, cell, markdown, put

from perdure import Results, compare

METHODS = ["shared-bottom", "mmoe", "ple", "multitab-net", "joint"]
RATES = {"lr": [0.001, 0.003, 0.01]}
SETTINGS = {"model": "mlp(hidden=[64, 64])", "optimizer": "adam", "batch_size": 128, "quiet": True}
CORRELATIONS, DEGREES, COUNTS = (0.0, 0.2, 0.4, 0.6, 0.8), (1, 2, 3, 4), (8, 16, 64)
EPOCHS = 15
# A transformer with a token for each of many tasks takes as long as all others together.
MOST_TOKENS = 40


def stream(samples: int, **knobs: object) -> str:
    given = {"features": 16, "samples": samples, "test_samples": 2000, "val_samples": 1000, **knobs}
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
    samples, epochs = (200, 1) if quick else (2000, EPOCHS)
    methods = METHODS[:1] if quick else METHODS
    tables = {
        "correlation": [
            row("correlation", p, learn(stream(samples, correlation=p), methods, seeds, epochs), methods)
            for p in CORRELATIONS[: 1 if quick else None]
        ],
        "degree": [
            row("degree", d, learn(stream(samples, degrees=d), methods, seeds, epochs), methods)
            for d in DEGREES[: 1 if quick else None]
        ],
        "number of tasks": [],
    }
    for tasks in COUNTS[:1] if quick else COUNTS:
        some = [m for m in methods if m != "multitab-net" or tasks <= MOST_TOKENS]
        spec = stream(samples, tasks=tasks, features=max(16, tasks), degrees="mixed")
        tables["number of tasks"].append(row("tasks", tasks, learn(spec, some, seeds, epochs), methods))
    text = "\n\n".join(markdown(rows) for rows in tables.values())
    print(text)
    if write:
        for name, rows in tables.items():
            put(name, markdown(rows), MULTITASK)
    return text


if __name__ == "__main__":
    main()
