"""Rules that balance tasks: two tasks of scales 1 and 100, and MultiTab-Bench of mixed degrees.

python examples/methods/balancing.py
"""

from __future__ import annotations

import torch
from table import MULTITASK, cell, markdown, put

from perdure import Results, compare
from perdure.scenarios import Part, Stream, Task, get
from perdure.scenarios.contract.objective import Regression

RULES = [
    "equal", "uncertainty", "gradnorm", "dwa", "famo", "pcgrad", "mgda", "cagrad", "imtl-g", "nash-mtl",
    "upgrad", "aligned-mtl",
]  # fmt: skip
SETTINGS = {"model": "mlp(hidden=[64, 64])", "optimizer": "adam", "batch_size": 128, "quiet": True}
RATES = {"lr": [0.001, 0.003, 0.01]}
BENCH = "multitab-bench(tasks=8, features=16, degrees=mixed, samples={}, test_samples=2000, val_samples=1000)"


def toy(samples: int, scales: tuple[float, ...] = (1.0, 100.0), inputs: int = 50) -> Stream:
    """Tasks ``y_i = s_i tanh((B + e_i) x)``, B common and e_i each task's own: Chen et al., ICML 2018.

    With one label a task: B and e_i are rows, of deviation ``sqrt(10)`` and ``sqrt(3.5)`` before ``x`` of
    length about 1.
    """
    draw = torch.Generator().manual_seed(0)
    common = 10**0.5 * torch.randn(inputs, generator=draw)
    own = [3.5**0.5 * torch.randn(inputs, generator=draw) for _ in scales]
    parts: list[list[Part]] = []
    for count in (samples, samples // 2, samples):
        x = torch.randn(count, inputs, generator=draw) / inputs**0.5
        parts.append([Part(x, s * torch.tanh(x @ (common + e))) for s, e in zip(scales, own, strict=True)])
    tasks = [
        Task(f"scale {s:g}", *(part[t] for part in parts), (t,), Regression(by="r2"))
        for t, s in enumerate(scales)
    ]
    return Stream("scales", tuple(tasks), "task", len(scales))


def learn(stream: Stream, seeds: int, epochs: int) -> Results:
    rules = {rule: f"balance(rule={rule})" for rule in RULES}
    return compare(stream, ["single", *rules.values()], tune=RATES, seeds=seeds, epochs=epochs, **SETTINGS)


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    samples, epochs = (200, 1) if quick else (2000, 15)
    scales, bench = (learn(s, seeds, epochs) for s in (toy(samples), get(BENCH.format(samples))))
    rows = []
    for name in scales.strategies:
        small, large = scales.scores[name][:, -1].T
        rows.append(
            {
                "rule": name.removeprefix("balance(rule=").removesuffix(")"),
                "scale 1, R2": cell(small),
                "scale 100, R2": cell(large),
                "mixed degrees, mean R2": cell(bench.metric("average_accuracy", name)),
                "worst task, R2": cell(bench.scores[name][:, -1].min(1)),
                "seconds": f"{bench.costs[name]['seconds_train']:.1f}",
            }
        )
    text = markdown(rows)
    print(text)
    if write:
        put("balancing", text, MULTITASK)
    return text


if __name__ == "__main__":
    main()
