"""k-FPF against replay on split MNIST (5,000 digits, a class each output) at equal and a quarter of its cost.

PERDURE_DATA=data python examples/methods/kfpf.py    (writes the tables and the figure of docs/methods.md)
"""

import math
import time
from collections.abc import Sequence

from table import PAGE, cell, markdown, put
from torch import nn

from perdure import compare, measure_sensitivity
from perdure.analysis import plot_sensitivity

FIGURE = PAGE.parent / "kfpf_sensitivity.png"
RATES = (0.03, 0.1, 0.3)

# What a row shows, and the strategy, with steps for what replay adds to the cost of plain SGD, or a quarter.
PLAIN = {
    "plain SGD": "naive",
    "replay": "replay(200)",
    "k-FPF, head, equal cost": "kfpf(k=5, steps=144, modules='head')",
    "k-FPF, first+head, equal cost": "kfpf(k=5, steps=72, modules='first+head')",
    "k-FPF, all modules, equal cost": "kfpf(k=69, steps=5, modules='all')",
    "k-FPF, two modules by sensitivity, equal cost": "kfpf(k=5, steps=69, modules='auto')",
    "control: random weights, as many as first+head, equal cost": (
        "kfpf(k=5, steps=69, modules='first+head', control=True)"
    ),
    "k-FPF, head, a quarter": "kfpf(k=5, steps=36, modules='head')",
    "k-FPF, first+head, a quarter": "kfpf(k=5, steps=18, modules='first+head')",
    "k-FPF, all modules, a quarter": "kfpf(k=21, steps=4, modules='all')",
    "k-FPF-KD, all modules, a quarter": "kfpf(k=21, steps=4, modules='all', kd=0.5)",
    "DER++": "derpp(200)",
    "replay + FPF, head": "replay(200) + fpf(steps=100, modules='head')",
    "DER++ + FPF, head": "derpp(200) + fpf(steps=100, modules='head')",
}
NORMS = {
    "plain SGD": "naive",
    "replay": "replay(200)",
    "k-FPF, norms+head, equal cost": "kfpf(k=10, steps=64, modules='norm+head')",
    "k-FPF, all modules, equal cost": "kfpf(k=69, steps=5, modules='all')",
    "control: random weights, as many as norms+head, equal cost": "kfpf(k=10, steps=34, control=True)",
    "k-FPF, norms+head, a quarter": "kfpf(k=10, steps=16, modules='norm+head')",
    "k-FPF, all modules, a quarter": "kfpf(k=21, steps=4, modules='all')",
    "replay + FPF, norms+head": "replay(200) + fpf(steps=100, modules='norm+head')",
}
QUICK = ("plain SGD", "replay", "k-FPF, all modules, equal cost", "replay + FPF, head")


def normed(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the perceptron of the first table with batch norm after each hidden layer."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before in (math.prod(shape), 100):
        layers += [nn.Linear(before, 100), nn.BatchNorm1d(100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, outputs))


def table(stream: str, model, rows: dict[str, str], seeds: int, rates: Sequence[float]) -> str:
    """Train all rows, each at its own best learning rate, and lay them out."""
    results = compare(stream, list(rows.values()), model=model, seeds=seeds, tune={"lr": rates}, quiet=True)
    names = dict(zip(rows, results.strategies, strict=True))
    plain, replay = (results.costs[names[row]] for row in ("plain SGD", "replay"))
    lines = []
    for row, name in names.items():
        cost = results.costs[name]
        extra = (cost["flops"] - plain["flops"]) / (replay["flops"] - plain["flops"])
        lines.append(
            {
                "strategy": row,
                "learning rate": f"{results.extras[name].get('chosen', {'lr': rates[0]})['lr']:g}",
                "final accuracy": cell(results.metric("average_accuracy", name)),
                "forgetting": cell(results.metric("forgetting", name)),
                "samples": f"{cost['samples_seen']:,.0f}",
                "GFLOP": f"{cost['flops'] / 1e9:.1f}",
                "extra cost": f"{extra:.2f}",
            }
        )
    return markdown(lines)


def main(seeds: int = 10, write: bool = True, quick: bool = False) -> str:
    """Write the tables and the figure; ``quick`` takes a few rows, small digits and one learning rate."""
    start = time.perf_counter()
    if quick:
        some = {row: PLAIN[row] for row in QUICK}
        text = table("split-digits", "mlp(hidden=[32])", some, min(seeds, 2), RATES[1:2])
    else:
        first = table("split-mnist-5k", "mlp(hidden=[100, 100])", PLAIN, seeds, RATES)
        second = table("split-mnist-5k", normed, NORMS, min(seeds, 5), RATES)
        text = f"{first}\n\nWith batch norm after each hidden layer, five seeds:\n\n{second}"
    if write:
        put("kfpf", text)
        plot_sensitivity(measure_sensitivity("split-mnist-5k", model=normed, seeds=3, epochs=3), FIGURE)
    print(f"{text}\n{time.perf_counter() - start:.0f} seconds")
    return text


if __name__ == "__main__":
    main()
