"""Tasks that share their samples: rows with a label of each task learn what a batch of each would."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from perdure import compare
from perdure.core.batch import Batch, Params, State
from perdure.core.net import Net
from perdure.engine import layout
from perdure.scenarios import from_arrays
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.shared_rows import shared_rows
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.strategies import Phase, Step, Strategy, TaskData


class Together(Strategy):
    """Learns all tasks at once, a batch of each, or those of each half."""

    name: ClassVar[str] = "together"

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]


class Halves(Strategy):
    name: ClassVar[str] = "halves"

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase((0, 1), batch_per_task=True, stage=False), Phase((2, 3), batch_per_task=True)]


class Each(Together):
    """One gradient for each task, which add up to the plain one."""

    per_loss_gradients: ClassVar[bool] = True
    name: ClassVar[str] = "each"

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return {k: g.sum(0) for k, g in grads.items()}


def table(missing: bool = False, n: int = 24) -> Stream:
    """Two regressions and two classifications of three and two classes on the same rows."""
    draw = torch.Generator().manual_seed(3)
    objectives: list[Objective] = [Regression(), Classification(), Regression(by="r2"), Classification()]
    outputs: list[tuple[int, ...]] = [(0,), (1, 2, 3), (4,), (5, 6)]
    parts: list[list[Part]] = []
    for count in (n, 8, 12):
        x = torch.randn(count, 5, generator=draw)
        real = [x[:, 0] + x[:, 1], x[:, 2] - x[:, 1]]
        if missing and count == n:
            real[0][::3] = torch.nan
        classes = [1 + torch.arange(count) % 3, 5 + (x[:, 3] > 0).long()]
        parts.append([Part(x, y) for y in (real[0], classes[0], real[1], classes[1])])
    tasks = [
        Task(f"t{t}", parts[0][t], parts[1][t], parts[2][t], outputs[t], objectives[t]) for t in range(4)
    ]
    return Stream("table", tuple(tasks), "task", 7)


def scores(stream: Stream, strategy: Strategy, **settings: object) -> Tensor:
    settings = {"seeds": 2, "epochs": 3, "batch_size": 24, "model": "mlp(hidden=[8])", **settings}
    return torch.as_tensor(compare(stream, {"s": strategy}, quiet=True, **settings).scores["s"])  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", [Together(), Halves(), Each()], ids=str)
@pytest.mark.parametrize("missing", [False, True])
def test_it_learns_what_a_batch_of_each_task_would(
    strategy: Strategy, missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = table(missing)
    shared = scores(stream, strategy)
    asked = []
    monkeypatch.setattr(layout, "shared_rows", lambda *a: asked.append(a))
    # The whole part is one batch: in whatever order, each task's loss is the same mean.
    assert torch.allclose(shared, scores(stream, strategy), atol=1e-5)
    assert asked, "the two runs were laid out alike"


def test_a_batch_holds_a_label_of_each_task() -> None:
    seen = []

    class Sees(Together):
        name: ClassVar[str] = "sees"

        def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
            seen.append((tuple(batch.x.shape), tuple(batch.y.shape), tuple(batch.weight.shape), len(losses)))
            return losses

    scores(table(), Sees(), batch_size=10)
    assert set(seen) == {((10, 5), (10, 4), (10, 4), 4)}


def test_strategies_that_read_one_label_get_a_batch_of_each() -> None:
    seen = []

    class Reads(Together):
        name: ClassVar[str] = "reads"

        def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
            seen.append(tuple(task.y.shape))
            return params, state

    class ReadsAll(Reads):
        name: ClassVar[str] = "reads-all"
        reads_all_labels: ClassVar[bool] = True

    scores(table(), Reads())
    scores(table(), ReadsAll())
    assert seen[0] == (96,)
    assert seen[-1] == (24, 4)


def test_what_follows_the_step_sees_them_too() -> None:
    seen = []

    class Follows(Together):
        name: ClassVar[str] = "follows"

        def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
            assert step.batch.losses is not None
            seen.append((tuple(step.incoming.y.shape), tuple(step.batch.losses.shape)))
            return params, state

    scores(table(), Follows())
    assert set(seen) == {((24, 4), (4,))}


@pytest.mark.parametrize("change", ["inputs", "outputs", "owner", "transform"])
def test_tasks_that_do_not_share_all_are_not_laid_out_together(change: str) -> None:
    stream = table()
    assert shared_rows(stream, [0, 1, 2, 3], "train") is not None
    task, part = stream[2], stream[2].train
    assert isinstance(part, Part)
    other = {
        "inputs": replace(task, train=replace(part, x=part.x.clone())),
        "outputs": replace(task, outputs=(0,)),
        "owner": replace(task, train=replace(part, task=torch.full((len(part),), 2))),
        "transform": replace(task, train=replace(part, transform=torch.neg)),
    }[change]
    tasks = [other if t == 2 else stream[t] for t in range(4)]
    assert shared_rows(stream.with_tasks(tasks), [0, 1, 2, 3], "train") is None
    assert shared_rows(stream, [1], "train") is None


def test_a_model_that_asks_for_the_task_gets_a_batch_of_each() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 7)

        def forward(self, x: Tensor, task: Tensor) -> Tensor:
            return self.head(x) + task.unsqueeze(-1)

    stream = table()
    results = compare(stream, {"s": Together()}, model=Asks, seeds=1, epochs=1, batch_size=24, quiet=True)
    assert results.costs["s"]["samples_seen"] == 4 * 24
    assert (
        compare(stream, {"s": Together()}, seeds=1, epochs=1, batch_size=24, quiet=True).costs["s"][
            "samples_seen"
        ]
        == 24
    )


def test_several_targets_without_missing_labels_are_learned() -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x[:, 0], 2 * x[:, 1] - x[:, 2]], 1)
    stream = from_arrays([(x, y)], "joint", objective=["regression(r2)", "regression(r2)"])
    found = scores(stream, Together(), epochs=200, batch_size=16, lr=0.05)
    assert found.min() > 0.9
