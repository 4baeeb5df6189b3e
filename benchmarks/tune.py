"""Choosing among eight strengths of EWC with ten seeds: all at once, against a run for each of them.

python benchmarks/tune.py            # the tabular workload: 10 tasks, 20-64-64-2, batch 32
python benchmarks/tune.py --quick    # two of its tasks

Prints both times, their ratio (the bar is a quarter) and how far scores differ (the bar is 1e-6).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from workloads import get_workload

from perdure.engine.tuning import trials
from perdure.experiment import run
from perdure.scenarios import Part, Stream, Task
from perdure.strategies import EWC
from perdure.training import make_settings

STRENGTHS = [0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
SEEDS = 10


def tabular(tasks: int) -> tuple[Stream, dict]:
    """Return the stream of the workload, and how it is trained."""
    work = get_workload("tabular")
    pairs = list(zip(work.train, work.test, strict=True))[:tasks]
    classes = tuple(range(work.outputs))
    made = tuple(Task(f"t{i}", Part(*a), Part(*b), Part(*b), classes) for i, (a, b) in enumerate(pairs))
    settings = {"model": work.model, "seeds": SEEDS, "epochs": 1, "batch_size": work.batch_size}
    return Stream("tabular", made, "domain", work.outputs), {**settings, "lr": work.lr, "device": "cpu"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two tasks only")
    torch.set_num_threads(1)
    stream, settings = tabular(2 if parser.parse_args().quick else 10)

    began = time.perf_counter()
    grid = [{"ewc.strength": strength} for strength in STRENGTHS]
    (trial,) = trials(EWC(), grid)
    made = replace(make_settings(stream, **settings), grid=trial.points, choosing=True)
    together = torch.stack(run(stream, trial.strategy, made).scores)
    at_once = time.perf_counter() - began

    began = time.perf_counter()
    apart = [run(stream, EWC(s), make_settings(stream, **settings)).scores for s in STRENGTHS]
    each = time.perf_counter() - began

    differs = float((together - torch.cat([torch.stack(scores) for scores in apart], 1)).abs().max())
    print(f"{len(STRENGTHS)} strengths at once  {at_once:7.2f} s")
    print(f"{len(STRENGTHS)} runs               {each:7.2f} s")
    print(f"ratio              {at_once / each:7.2f}    (bar 0.25)")
    print(f"scores differ by   {differs:9.1e}  (bar 1e-6)")


if __name__ == "__main__":
    main()
