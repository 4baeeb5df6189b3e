"""Scores of tasks that share their inputs: a forward pass for all of them says what one for each does."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perdure.core.batch import Params, State
from perdure.core.net import Net
from perdure.engine.engine import Engine
from perdure.experiment import compare, make_engine
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task
from perdure.strategies import Strategy, get
from perdure.training import make_settings

SETTINGS = {"seeds": 2, "epochs": 2, "batch_size": 16, "lr": 0.1, "quiet": True}


def rows(shared: bool, test: int = 30) -> Stream:
    """Two regressions and two classifications; test inputs are shared, or each task has its own."""
    draw = torch.Generator().manual_seed(5)
    objectives: list[Objective] = [Regression(), Classification(), Regression(by="r2"), Classification()]
    outputs: list[tuple[int, ...]] = [(0,), (1, 2, 3), (4,), (5, 6)]
    each: list[list[Part]] = []
    for n in (32, 12, test):
        x = torch.randn(n, 6, generator=draw)
        labels = [x[:, 0] - x[:, 1], 1 + torch.arange(n) % 3, x[:, 2], 5 + (x[:, 3] > 0).long()]
        each.append([Part(x if shared or n != test else x.clone(), y) for y in labels])
    parts = zip(*each, outputs, objectives, strict=True)
    tasks = tuple(Task(f"t{i}", *one) for i, one in enumerate(parts))
    return Stream("rows", tasks, "task", 7)


class Told(nn.Module):
    """A layer for each task: what it computes depends on the task of each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = nn.Linear(6, 8), nn.Parameter(torch.randn(4, 8, 7) / 3)

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        return torch.einsum("nh,nho->no", self.body(x).relu(), self.heads.index_select(0, task))


class Branches(Strategy):
    """Asks for a task's number, which cannot be mapped."""

    name: ClassVar[str] = "branches"

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        return net(params, x, task) * (1.0 if int(task[0]) >= 0 else 2.0)


KINDS = {
    "naive": ("naive", "mlp(hidden=[8])"),
    "single": ("single", "mlp(hidden=[8])"),
    "a forward by task": ("merge(rule=tall-masks)", "mlp(hidden=[8])"),
    "masks by task": ("packnet", "mlp(hidden=[8])"),
    "experts": ("mmoe", "mlp(hidden=[8])"),
    "a module that is told": ("naive", Told),
    "what cannot be mapped": (Branches(), "mlp(hidden=[8])"),
    "norm statistics": (
        "shared-bottom",
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 7)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_counts_are_those_of_each_task_by_itself(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, model = KINDS[kind]
    found = []
    # In chunks with padding, and whole.
    for shared, samples in ((True, 26), (True, 10_000), (False, 10_000)):
        monkeypatch.setattr("perdure.engine.engine.EVAL_SAMPLES", samples)
        monkeypatch.setattr("perdure.engine.engine.LEAST_SCORED", 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            results = compare(rows(shared), {"s": strategy}, model=model, **SETTINGS)  # type: ignore[arg-type,dict-item]
        found.append(results.scores["s"])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-5, atol=1e-6)


def classes(shared: bool, setting: Setting = "task") -> Stream:
    """Three labellings of the same rows in two classes, with outputs of their own or not."""
    draw = torch.Generator().manual_seed(1)
    x, few, test = (torch.randn(n, 5, generator=draw) for n in (40, 9, 31))
    tasks = []
    for t in range(3):
        first = 2 * t if setting == "task" else 0
        parts = [
            Part(part if shared else part.clone(), first + (part[:, t] > 0).long()) for part in (x, few, test)
        ]
        tasks.append(Task(f"t{t}", parts[0], parts[1], parts[2], (first, first + 1)))
    return Stream("rows", tuple(tasks), setting, 6 if setting == "task" else 2)


@pytest.mark.parametrize("setting", ["task", "domain"])
def test_answers_are_counted_for_every_task(setting: Setting) -> None:
    found = [compare(classes(shared, setting), ["naive"], **SETTINGS) for shared in (True, False)]  # type: ignore[arg-type]
    scores, counts = zip(*((one.scores["naive"], one.confusions["naive"]) for one in found), strict=True)
    np.testing.assert_allclose(*scores)
    np.testing.assert_array_equal(*counts)
    assert counts[0].sum() == 2 * 3 * 3 * 31


def engine(stream: Stream, model: Any = "mlp(hidden=[8])") -> Engine:
    chosen = make_settings(stream, model=model, epochs=1, batch_size=16, lr=0.1, seeds=2)
    return make_engine(stream, get("naive"), chosen)


def test_inputs_are_there_once() -> None:
    chunks = list(engine(rows(True)).test.chunks)
    assert [(len(r["x"]), r["y"].shape, owner.shape) for r, owner in chunks] == [(30, (4, 30), (4, 30))]
    assert chunks[0][1][:, 0].tolist() == [0, 1, 2, 3]
    apart = list(engine(rows(False)).test.chunks)
    assert [(len(r["x"]), owner.shape) for r, owner in apart] == [(120, (120,))]


def test_groups_and_tasks_alone_stand_side_by_side() -> None:
    """Tasks 1 and 3 share inputs, the others have their own: each counts for itself."""
    shared, apart = rows(True), rows(False)
    tests = [(shared if t % 2 else apart)[t].test for t in range(4)]
    tasks = tuple(replace(task, test=test) for task, test in zip(apart, tests, strict=True))
    mixed, expected = engine(replace(apart, tasks=tasks)), engine(apart)
    assert [owner.shape for _, owner in mixed.test.chunks] == [(60,), (2, 30)]
    replica = expected.start()
    torch.testing.assert_close(mixed.evaluate(replica), expected.evaluate(replica))


def test_one_pass_serves_all_tasks() -> None:
    """What the model is called with, as scoring is recorded, has each input once."""
    sizes = set()

    class Counted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            sizes.add(len(x))
            return super().forward(x)

    made = engine(rows(True), lambda: Counted(6, 7))
    replica = made.start()
    sizes.clear()
    made.evaluate(replica)
    assert sizes == {30}
