"""Multi-task learning: ten seeds at once, balancing by the Gram matrix, and TorchJD's own loop beside ours.

    python benchmarks/multitask.py             seven tasks of MultiTab-Bench, 32 features, 20,000 samples
    python benchmarks/multitask.py --quick     a tenth of the samples

Prints ratios, each the median of three turns on one thread, after a first turn that is not counted:

* ten seeds of MMoE at once against ten runs of one seed (bar: a third);
* a step of PCGrad over seven tasks against one of equal weights (bar: 3), where tasks share their rows and
  where each has its own. On shared rows equal weights take one pass backward, and one gradient for each task
  takes seven, whatever the implementation: 4.4 times the multiplications on this net;
* ten seeds of PCGrad on a shared trunk against ten loops of TorchJD's on the same net (bar: a third).

Recording is in all times of ours. Needs TorchJD for the last one; without it that is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from perdure import compare
from perdure.scenarios import Part, Stream, get

WIDTHS, BATCH, RATE, SEEDS, TURNS = (64, 64), 256, 0.01, 10, 3


def learn(stream: Stream, strategy: str, seeds: list[int], batch: int = BATCH) -> float:
    """Return the seconds that a strategy trains for, those of recording included."""
    model = f"mlp(hidden={list(WIDTHS)})"
    results = compare(
        stream, [strategy], model=model, seeds=seeds, epochs=1, batch_size=batch, optimizer="sgd", lr=RATE,
        device="cpu", quiet=True,
    )  # fmt: skip
    costs = results.costs[results.strategies[0]]
    return costs["seconds_train"] + costs["seconds_warmup"]


def rows_of(stream: Stream) -> tuple[Tensor, Tensor]:
    """Return the inputs of all tasks, which share them, and a label of each, ``[n, tasks]``."""
    parts = [task.train for task in stream]
    assert all(isinstance(part, Part) and part.x is parts[0].x for part in parts)  # type: ignore[union-attr]
    return parts[0].x, torch.stack([part.y for part in parts], 1)  # type: ignore[union-attr]


def torchjd_loop(stream: Stream, seed: int) -> float:
    """Return the seconds of a loop as TorchJD's documentation has it: PCGrad on a shared trunk."""
    from torchjd.aggregation import PCGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    torch.manual_seed(seed)
    x, y = rows_of(stream)
    layers: list[nn.Module] = []
    width = x.shape[1]
    for h in WIDTHS:
        layers += [nn.Linear(width, h), nn.ReLU()]
        width = h
    trunk = nn.Sequential(*layers)
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(y.shape[1]))
    optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=RATE)
    rule, order = PCGrad(), torch.randperm(len(x))
    began = time.perf_counter()
    for at in range(0, len(x) - BATCH + 1, BATCH):
        batch = order[at : at + BATCH]
        features = trunk(x[batch])
        losses = [(head(features).squeeze(1) - y[batch, t]).square().mean() for t, head in enumerate(heads)]
        mtl_backward(losses, features=features)
        jac_to_grad(list(trunk.parameters()), rule)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def ratio(name: str, bar: float, ours: Callable[[], float], other: Callable[[], float]) -> None:
    """Time both in turn, and print the median of the ratios."""
    ours(), other()
    pairs = [(ours(), other()) for _ in range(TURNS)]
    found = median(a / b for a, b in pairs)
    times = f"{median(a for a, _ in pairs):.2f} s against {median(b for _, b in pairs):.2f} s"
    print(f"{name:<58} {times}: {found:.2f} (bar {bar:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    stream = get(f"multitab-bench(samples={2_000 if quick else 20_000})")
    many = list(range(SEEDS))

    def each(one: Callable[[int], float]) -> float:
        return sum(one(seed) for seed in many)

    for batch in (32, BATCH):
        ratio(
            f"MMoE, batch {batch}, ten seeds at once against ten runs", 1 / 3,
            lambda b=batch: learn(stream, "mmoe", many, b),  # type: ignore[misc]
            lambda b=batch: each(lambda seed: learn(stream, "mmoe", [seed], b)),  # type: ignore[misc]
        )  # fmt: skip
    pcgrad, equal = "balance(rule=pcgrad)", "balance(rule=equal)"
    own = get(f"r-mtgb(tasks=7, outliers=2, samples={300 if quick else 3_000})")
    for rows, tasks, batch in (("shared", stream, 32), ("shared", stream, BATCH), ("own", own, 32)):
        for seeds in ([0], many):
            ratio(
                f"PCGrad against equal, {rows} rows, batch {batch}, {len(seeds)} seeds", 3,
                lambda t=tasks, s=seeds, b=batch: learn(t, pcgrad, s, b),  # type: ignore[misc]
                lambda t=tasks, s=seeds, b=batch: learn(t, equal, s, b),  # type: ignore[misc]
            )  # fmt: skip
    try:
        import torchjd  # noqa: F401
    except ImportError:
        print("TorchJD is not installed: its loop is left out")
        return
    ratio(
        "PCGrad, ten seeds at once against ten loops of TorchJD's", 1 / 3,
        lambda: learn(stream, pcgrad, many), lambda: each(lambda seed: torchjd_loop(stream, seed)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
