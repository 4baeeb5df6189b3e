"""What streams and their parts look like: short, and without arrays."""

import numpy as np
import pytest
import torch

from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.scenarios import SOURCES, from_arrays, get
from perdure.strategies.contract.phase import Phase, TaskData

RNG = Rng(torch.tensor(0), torch.tensor(0))
FIVE = """\
Stream split-digits: 2 tasks, class setting
  tasks (training + validation + test): 0/1 (259 + 29 + 72), 2/3 (259 + 29 + 72)
  input shape: [1, 8, 8]
  outputs: 10
  objective: Classification() (accuracy)"""


def test_a_stream_is_five_lines():
    assert str(get("split-digits | take(2)")) == repr(get("split-digits | take(2)")) == FIVE


def test_many_tasks_and_objectives_stay_five_lines():
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    tasks = [(x + i, y if i % 2 else x[:, 0]) for i in range(9)]
    text = str(from_arrays(tasks, "task", online=True, objective=["regression(r2)", None] * 4 + [None]))
    assert len(text.splitlines()) == 5
    assert "9 tasks, task setting, online" in text
    assert "and 4 more" in text
    assert "Regression('r2') (R2), Classification() (accuracy)" in text


def test_html_names_every_task_and_escapes():
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    html = from_arrays([(x, y), (x, y)], names=["<b>", "c"], name="a&b")._repr_html_()
    assert "a&amp;b" in html
    assert "<td>&lt;b&gt;</td>" in html
    assert html.count("<tr>") == 3
    assert "tensor" not in html


@pytest.mark.parametrize(
    "made",
    [
        lambda: get("split-digits")[0],
        lambda: get("split-digits")[0].train,
        lambda: SOURCES.get("digits"),
        lambda: list(get("split-digits")),
        lambda: TaskData(0, rows(), torch.ones(2).bool(), RNG, Phase((0,)), {}),
        lambda: Batch(rows(), torch.tensor(0), RNG),
    ],
)
def test_nothing_writes_arrays_out(made):
    text = repr(made())
    assert "tensor(" not in text
    assert len(text) < 600


def rows():
    return {"x": torch.zeros(3, 2), "y": torch.zeros(3).long(), "task": torch.zeros(3).long()}


def test_a_part_and_a_task():
    task = get("split-digits")[0]
    assert repr(task.val) == "Part(x float32 [29, 1, 8, 8], y int64 [29])"
    assert repr(task) == "Task('0/1', 259 + 29 + 72, outputs=(0, 1), Classification())"
