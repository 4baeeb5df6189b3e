"""Loss of plasticity: permuted digits, task after task, and which method goes on learning as at the start.

python examples/methods/plasticity.py    (writes the table and the figure of docs/methods.md)
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.datasets import load_digits
from table import PAGE, cell, markdown, put

from perdure import Results, compare
from perdure.analysis import plasticity
from perdure.scenarios import Stream, permuted

FIGURE = PAGE.parent / "plasticity.png"
TASKS, TRAIN, TEST = 200, 1200, 100
METHODS = {
    "plain training": "naive",
    "L2 to the start": "l2-init(strength=0.01)",
    "shrink and perturb": "shrink-and-perturb(shrink=0.001, noise=0.003)",
    "layer norm": "layer-norm",
    "continual backprop": "cbp(rate=0.001)",
    "ReDo": "redo(every=70)",
}


def digits(tasks: int) -> Stream:
    """Return permuted digits with few test samples: all tasks are scored after each."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    end = TRAIN + TEST
    return permuted((x[:TRAIN], y[:TRAIN], x[TRAIN:end], y[TRAIN:end]), tasks=tasks)


def row(results: Results, title: str, name: str) -> dict[str, str]:
    """Lay out how well the first and the last tenth of the tasks were learned, and the end."""
    some = max(1, len(results.tasks) // 10)
    learned = plasticity(results.scores[name])
    first, last = learned[:, :some].mean(1), learned[:, -some:].mean(1)
    table = results.plasticity()
    end = table[(table["strategy"] == name) & (table["task"] == len(results.tasks) - 1)]
    seen = dict(zip(end["measure"], end["mean"], strict=True))
    return {
        "method": title,
        "first tenth": cell(first),
        "last tenth": cell(last),
        "change": cell(last - first),
        "dormant": f"{seen['dormant']:.2f}",
        "rank": f"{seen['rank']:.1f}",
        "mean abs. weight": f"{seen['weight']:.3f}",
    }


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    """Write the table and the figure; ``quick`` takes ten tasks."""
    start = time.perf_counter()
    tasks = 10 if quick else TASKS
    plans = {title: f"{spec} + watch-plasticity" for title, spec in METHODS.items()}
    results = compare(
        digits(tasks), plans, model="mlp(hidden=[64, 64])", seeds=seeds, epochs=1, batch_size=16,
        optimizer="adam", lr=0.005, quiet=True,
    )  # fmt: skip
    lines = [row(results, title, title) for title in plans]
    text = (
        f"{tasks} tasks, {seeds} seeds; accuracy on a task when it was learned, meaned over a tenth of the "
        f"tasks; dormant units, effective rank and weights at the end.\n\n{markdown(lines)}"
    )
    if write:
        put("plasticity", text)
        results.plot_plasticity(FIGURE)
    print(f"{text}\n{time.perf_counter() - start:.0f} seconds")
    return text


if __name__ == "__main__":
    main()
