"""Synthetic results: learners that keep a known share of what they learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Curve, Results

ONE_STAGE = ("joint", "single")


def _matrix(rng: np.random.Generator, seeds: int, tasks: int, kept: float) -> np.ndarray:
    stage, task = np.indices((tasks, tasks))
    clean = np.where(task > stage, 0.1, 0.1 + 0.8 * kept ** np.maximum(stage - task, 0))
    return np.clip(clean + 0.02 * rng.standard_normal((seeds, tasks, tasks)), 0, 1)


def _curve(rng: np.random.Generator, seeds: int, tasks: int, stages: int) -> Curve:
    count = 4 * stages
    scores = rng.uniform(0.1, 0.9, (seeds, count, tasks))
    return Curve(5 * np.arange(1, count + 1), np.repeat(np.arange(stages), 4), scores)


def build(
    names: tuple[str, ...] = ("naive", "ewc", "joint", "single"),
    tasks: int = 4,
    seeds: int = 6,
    curves: bool = True,
    untrained: bool = True,
    **config: Any,
) -> Results:
    rng = np.random.default_rng(0)
    scores, before, recorded, costs = {}, {}, {}, {}
    for place, name in enumerate(names):
        one = name in ONE_STAGE
        scores[name] = (
            np.clip(0.9 + 0.02 * rng.standard_normal((seeds, 1, tasks)), 0, 1)
            if one
            else _matrix(rng, seeds, tasks, 0.4 + 0.5 * place / len(names))
        )
        if untrained:
            before[name] = 0.1 + 0.01 * rng.standard_normal((seeds, tasks))
        if curves:
            recorded[name] = _curve(rng, seeds, tasks, 1 if name == "joint" else tasks)
        costs[name] = {"seconds_train": 1.25 + place, "parameters": 4810.0, "flops": 3.2e11}
    given = {
        "stream": "split-digits",
        "setting": "class",
        "metric": "accuracy",
        "tasks": [f"digits {2 * t}/{2 * t + 1}" for t in range(tasks)],
        "seeds": list(range(seeds)),
        "kinds": {name: name for name in names},
        "model": "mlp",
        "fingerprint": "0123456789abcdef",
        "test_sizes": [72] * tasks,
    }
    return Results(scores, before, recorded, costs, {names[0]: {"path": "traced"}}, {**given, **config})


@pytest.fixture(name="build", scope="session")
def _build() -> Callable[..., Results]:
    return build


@pytest.fixture
def results() -> Results:
    return build()
