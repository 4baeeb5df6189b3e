"""Choosing among eight strengths of EWC with ten seeds: all at once, against a run for each of them.

python benchmarks/tune.py            # the tabular workload: 10 tasks, 20-64-64-2, batch 32
python benchmarks/tune.py --quick    # two of its tasks

Prints both times, their ratio (the bar is a quarter) and how far scores differ (the bar is 1e-6): in one
process, and with a process for each, as on a command line.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from workloads import get_workload

from perdure.engine.tuning import trials
from perdure.experiment import run
from perdure.scenarios import Part, Stream, Task
from perdure.strategies import EWC
from perdure.training import make_settings

STRENGTHS = [0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
SEEDS = 10


def tabular(tasks: int) -> tuple[Stream, dict[str, Any]]:
    """Return the stream of the workload, and how it is trained."""
    work = get_workload("tabular")
    pairs = list(zip(work.train, work.test, strict=True))[:tasks]
    classes = tuple(range(work.outputs))
    made = tuple(Task(f"t{i}", Part(*a), Part(*b), Part(*b), classes) for i, (a, b) in enumerate(pairs))
    settings = {"model": work.model, "seeds": SEEDS, "epochs": 1, "batch_size": work.batch_size}
    return Stream("tabular", made, "domain", work.outputs), {**settings, "lr": work.lr, "device": "cpu"}


def learn(stream: Stream, settings: dict[str, Any], strengths: list[float]) -> torch.Tensor:
    """Return the scores of strengths that are learned at once, ``[stage, strengths x seeds, task]``."""
    trial = trials(EWC(), [{"ewc.strength": strength} for strength in strengths])[0]
    made = replace(make_settings(stream, **settings), grid=trial.points, choosing=True)
    return torch.stack(run(stream, trial.strategy, made).scores)


def timed(of: Callable[[list[float]], Any]) -> tuple[float, float, list[Any]]:
    """Return the seconds of all strengths at once and of one after the other, and what they gave."""
    began = time.perf_counter()
    at_once = of(STRENGTHS)
    middle = time.perf_counter()
    apart = [of([strength]) for strength in STRENGTHS]
    return middle - began, time.perf_counter() - middle, [at_once, *apart]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two tasks only")
    parser.add_argument("--only", type=float, nargs="*", help="run these at once, and print nothing")
    args = parser.parse_args()
    stream, settings = tabular(2 if args.quick else 10)
    if args.only:
        learn(stream, settings, args.only)
        return

    def command(strengths: list[float]) -> None:
        words = [*sys.argv, "--only", *map(str, strengths)]
        subprocess.run([sys.executable, *words], check=True)

    learn(stream, settings, STRENGTHS[:1])
    here, there = timed(partial(learn, stream, settings)), timed(command)
    for place, (at_once, each, _) in {"one process": here, "processes": there}.items():
        ratio = f"ratio {at_once / each:.2f} (bar 0.25)"
        print(f"{place:<12} at once {at_once:7.2f} s, eight runs {each:7.2f} s: {ratio}")
    together, *apart = here[2]
    print(f"scores differ by {float((together - torch.cat(apart, 1)).abs().max()):.1e} (bar 1e-6)")


if __name__ == "__main__":
    main()
