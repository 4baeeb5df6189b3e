"""Ours, a plain PyTorch loop and Avalanche on the same tensors: seconds, ratios and accuracies.

    python benchmarks/side_by_side.py                 # everything, about 40 minutes on two cores
    python benchmarks/side_by_side.py --quick         # naive and EWC, three seeds of the slow ones
    python benchmarks/side_by_side.py table           # docs/benchmarks.md from the last run

Each side runs in a process of its own, after a warm-up of torch's kernels that is not timed. A plain loop
indexes tensors in memory and is timed with one thread and with all; the faster counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads import Workload

HERE = Path(__file__).resolve().parent
Measured = dict[str, Any]
STRATEGIES = {
    "naive": "naive",
    "ewc": "ewc(strength=200.0, fisher='batch')",
    "replay": "replay(capacity=500, batch_size=64, policy='task')",
    "lwf": "lwf(strength=1.0, temperature=2.0)",
    "si": "si(strength=0.5, damping=1e-7, gradient_of='total', positive=False, cap=0.001)",
    "agem": "agem(samples_per_task=50, sample=64)",
    "der": "derpp(capacity=500, alpha=0.1, beta=0.5, batch_size=64, policy='class', shared=True)",
}
WORK = {
    "permuted": list(STRATEGIES),
    "tabular": ["naive", "ewc", "replay"],
    "split": ["naive", "ewc"],
    "split-cnn": ["naive"],
}


def plain(work: Workload, seed: int) -> Measured:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = work.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=work.lr)
    train = evaluate = 0.0
    row: list[float] = []
    for x, y in work.train:
        began = time.perf_counter()
        order = torch.randperm(len(y))
        for i in range(0, len(y), work.batch_size):
            rows = order[i : i + work.batch_size]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        middle = time.perf_counter()
        row = []
        with torch.no_grad():
            for xt, yt in work.test:
                right = 0
                for i in range(0, len(yt), 256):
                    right += int((model(xt[i : i + 256]).argmax(1) == yt[i : i + 256]).sum())
                row.append(right / len(yt))
        train += middle - began
        evaluate += time.perf_counter() - middle
    return {"train": train, "eval": evaluate, "warmup": 0.0, "accuracy": [sum(row) / len(row)]}


def avalanche(work: Workload, seed: int, strategy: str) -> Measured:
    import torch
    from avalanche.benchmarks import tensors_benchmark
    from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
    from avalanche.training import supervised
    from avalanche.training.plugins import EvaluationPlugin

    torch.manual_seed(seed)
    benchmark = tensors_benchmark(
        train_tensors=work.train, test_tensors=work.test, task_labels=[0] * len(work.train)
    )
    torch.manual_seed(seed)
    model = work.model()
    plugin = EvaluationPlugin(
        accuracy_metrics(epoch=True, experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
        loggers=[],
    )
    common = {
        "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=work.lr),
        "criterion": torch.nn.CrossEntropyLoss(), "train_mb_size": work.batch_size, "train_epochs": 1,
        "eval_mb_size": 256, "device": "cpu", "evaluator": plugin,
    }  # fmt: skip
    made = {
        "naive": lambda: supervised.Naive(**common),
        "ewc": lambda: supervised.EWC(ewc_lambda=100.0, **common),
        "replay": lambda: supervised.Replay(mem_size=500, **common),
        "lwf": lambda: supervised.LwF(alpha=1.0, temperature=2.0, **common),
        "si": lambda: supervised.SynapticIntelligence(si_lambda=1.0, **common),
        "agem": lambda: supervised.AGEM(patterns_per_exp=50, sample_size=64, **common),
        "der": lambda: supervised.DER(mem_size=500, batch_size_mem=64, alpha=0.1, beta=0.5, **common),
    }[strategy]()
    stages, scores = [], {}
    for experience in benchmark.train_stream:
        began = time.perf_counter()
        made.train(experience, num_workers=0)
        middle = time.perf_counter()
        scores = made.eval(benchmark.test_stream, num_workers=0)
        stages.append((middle - began, time.perf_counter() - middle))
    final = next(v for k, v in scores.items() if k.startswith("Top1_Acc_Stream/eval_phase/test_stream"))
    return {
        "train": sum(s[0] for s in stages), "eval": sum(s[1] for s in stages), "warmup": 0.0,
        "accuracy": [final], "stages": [s[0] for s in stages],
    }  # fmt: skip


def ours(work: Workload, seeds: int, strategy: str) -> Measured:
    from perdure.experiment import run
    from perdure.scenarios import Part, Stream, Task
    from perdure.strategies import get
    from perdure.training import make_settings

    pairs = zip(work.train, work.test, strict=True)
    classes = tuple(range(work.outputs))
    # The other sides have no validation part: nothing is held back here either.
    tasks = [Task(f"t{i}", Part(*a), Part(*b), Part(*b), classes) for i, (a, b) in enumerate(pairs)]
    stream = Stream("work", tuple(tasks), "domain", work.outputs)
    settings = make_settings(
        stream, model=work.model, seeds=seeds, epochs=1, batch_size=work.batch_size,
        lr=work.lr, device="cpu",
    )  # fmt: skip
    began = time.perf_counter()
    ends: list[tuple[float, int]] = []
    outcome = run(
        stream, get(STRATEGIES[strategy]), settings, lambda d, t: ends.append((time.perf_counter(), d))
    )
    wall = time.perf_counter() - began
    costs = outcome.costs
    per = costs["steps"] / len(work.train)
    marks = [began] + [at for at, done in ends if done % per == 0]
    return {
        "train": wall - costs["seconds_eval"] - costs["seconds_warmup"],
        "eval": costs["seconds_eval"],
        "warmup": costs["seconds_warmup"],
        "accuracy": outcome.scores[-1].mean(1).tolist(),
        "stages": [b - a for a, b in itertools.pairwise(marks)],
        "mapped": outcome.extras["mapped"],
    }


def one(side: str, workload: str, strategy: str, seeds: int, threads: int) -> None:
    import warnings

    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    import torch
    from workloads import get_workload

    torch.set_num_threads(threads)
    work = get_workload(workload)
    model = work.model()
    # Every side loads torch's compiler with its first optimiser or its first `grad`: no side's work.
    torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        x, y = work.train[0]
        torch.nn.functional.cross_entropy(model(x[:64]), y[:64]).backward()
    rows = []
    load = os.getloadavg()[0]
    if side == "ours":
        rows = [ours(work, seeds, strategy)]
    else:
        for seed in range(seeds):
            rows.append(plain(work, seed) if side == "plain" else avalanche(work, seed, strategy))
    total = {k: sum(r[k] for r in rows) for k in ("train", "eval", "warmup")}
    print(
        json.dumps(
            {
                "side": side,
                "workload": workload,
                "strategy": strategy,
                "seeds": seeds,
                "threads": threads,
                "load": load,
                **total,
                "accuracy": [a for r in rows for a in r["accuracy"]],
                "stages": rows[0].get("stages"),
                "mapped": rows[0].get("mapped"),
            }
        )
    )


def measure(out: Path, quick: bool, workloads: list[str]) -> None:
    threads = os.cpu_count() or 1
    jobs = []
    for workload in workloads:
        jobs += [("plain", workload, "naive", 10, t) for t in sorted({1, threads})]
        for strategy in WORK[workload]:
            if quick and strategy not in ("naive", "ewc"):
                continue
            slow = 3 if quick or workload != "permuted" else 10
            jobs += [("ours", workload, strategy, n, threads) for n in (1, 10)]
            jobs.append(("avalanche", workload, strategy, slow, threads))
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    with out.open("w") as file:
        for job in jobs:
            command = [sys.executable, __file__, "one", *map(str, job)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(f"{job} failed:\n{done.stderr[-2000:]}")
            file.write(done.stdout)
            file.flush()
            row = json.loads(done.stdout)
            print(
                *job,
                f"train {row['train']:.2f} eval {row['eval']:.2f} warm-up {row['warmup']:.2f}",
                flush=True,
            )


def interval(values: list[float]) -> tuple[float, float, float]:
    import numpy as np

    from perdure.analysis import bootstrap_interval

    low, high = bootstrap_interval(np.array(values))
    return float(np.mean(values)), float(low), float(high)


def table(results: Path, target: Path) -> None:
    import platform
    from datetime import date
    from importlib.metadata import version

    rows = [json.loads(line) for line in results.read_text().splitlines()]
    best: dict[tuple[Any, ...], Measured] = {}
    for row in rows:
        key = (row["side"], row["workload"], row["strategy"], row["seeds"] if row["side"] == "ours" else 0)
        if key not in best or row["train"] + row["eval"] < best[key]["train"] + best[key]["eval"]:
            best[key] = row
    packages = ("torch", "numpy", "avalanche-lib", "perdure")
    lines = [
        "# Side by side",
        "",
        f"{date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in packages)
        + ". Made by `python benchmarks/side_by_side.py`: each side in a process of its own, one after the",
        "other, OMP_WAIT_POLICY=PASSIVE. Seconds of training + evaluation; `warm-up` is the recording of our",
        "steps, once per run whatever the number of seeds; `total` ratios include it.",
        "",
        "| workload | strategy | plain, one seed | Avalanche, one seed | ours, one seed (warm-up) "
        "| ours, ten seeds (warm-up) | one seed / plain | ten / ten plain, warm (total) "
        "| ten Avalanche / ten of ours, warm (total) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for workload, strategies in WORK.items():
        if ("plain", workload, "naive", 0) not in best:
            continue
        loop = best["plain", workload, "naive", 0]
        for strategy in strategies:
            keys = [("ours", workload, strategy, 1), ("ours", workload, strategy, 10)]
            if not all(k in best for k in keys):
                continue
            single, ten = (best[k] for k in keys)
            other = best["avalanche", workload, strategy, 0]
            p, a = (((r["train"] + r["eval"]) / r["seeds"]) for r in (loop, other))
            s, t = (r["train"] + r["eval"] for r in (single, ten))
            sw, tw = single["warmup"], ten["warmup"]
            lines.append(
                f"| {workload} | {strategy} | {p:.2f} | {a:.2f} | {s:.2f} ({sw:.2f}) | {t:.2f} ({tw:.2f}) "
                f"| {s / p:.2f} | {t / p / 10:.2f} ({(t + tw) / p / 10:.2f}) "
                f"| {10 * a / t:.1f} ({10 * a / (t + tw):.1f}) |"
            )
    lines += [
        "",
        "## Agreement",
        "",
        "Final mean accuracy over ten seeds on `permuted`, 95 % bootstrap intervals.",
        "",
    ]
    lines += ["| strategy | ours | Avalanche | agree |", "| --- | --- | --- | --- |"]
    for strategy in WORK["permuted"]:
        if ("ours", "permuted", strategy, 10) not in best:
            continue
        mine = interval(best["ours", "permuted", strategy, 10]["accuracy"])
        theirs = interval(best["avalanche", "permuted", strategy, 0]["accuracy"])
        cells = [f"{m:.4f} [{lo:.4f}, {hi:.4f}]" for m, lo, hi in (mine, theirs)]
        agree = "yes" if mine[1] <= theirs[2] and theirs[1] <= mine[2] else "no"
        lines.append(f"| {strategy} | {cells[0]} | {cells[1]} | {agree} |")
    lines += [
        "",
        "## Cost of a stage",
        "",
        "Seconds of training of the first and the last task of `permuted`.",
        "",
    ]
    lines += ["| strategy | ours, ten seeds | Avalanche, one seed |", "| --- | --- | --- |"]
    for strategy in WORK["permuted"]:
        if ("ours", "permuted", strategy, 10) not in best:
            continue
        mine = best["ours", "permuted", strategy, 10]["stages"]
        theirs = best["avalanche", "permuted", strategy, 0]["stages"]
        lines.append(
            f"| {strategy} | {mine[1]:.2f} to {mine[-1]:.2f} | {theirs[0]:.2f} to {theirs[-1]:.2f} |"
        )
    notes = HERE / "notes.md"
    if notes.exists():
        lines += ["", notes.read_text().strip()]
    target.write_text("\n".join(lines) + "\n")
    print(target.read_text())


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        side, workload, strategy, seeds, threads = sys.argv[2:]
        one(side, workload, strategy, int(seeds), int(threads))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="all", choices=["all", "measure", "table"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workloads", nargs="+", default=list(WORK), choices=list(WORK))
    parser.add_argument("--results", type=Path, default=HERE / "side_by_side.jsonl")
    parser.add_argument("--target", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    arguments = parser.parse_args()
    if arguments.what in ("all", "measure"):
        measure(arguments.results, arguments.quick, arguments.workloads)
    if arguments.what in ("all", "table"):
        table(arguments.results, arguments.target)


if __name__ == "__main__":
    main()
