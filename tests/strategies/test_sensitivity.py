"""How far modules move, which of them a name means, and the figure of it."""

import pandas as pd
import pytest
import torch
from torch import nn

from perdure import PerdureError, measure_sensitivity
from perdure.analysis import plot_sensitivity
from perdure.strategies.parts.sensitivity import named_modules, sensitivity
from perdure.testing import tiny_norm, tiny_stream


@pytest.mark.parametrize("shift", [0.25, -0.25])
def test_a_uniform_shift_is_the_sensitivity_whatever_the_size(shift):
    params = {"a.weight": torch.randn(3, 70), "a.bias": torch.zeros(3), "b.c.weight": torch.ones(1)}
    moved = {k: v + shift for k, v in params.items()}
    torch.testing.assert_close(sensitivity(params, moved), torch.full((2,), 0.25))


def test_sensitivity_by_hand():
    before = {
        "0.weight": torch.tensor([[1.0, -1.0]]),
        "0.bias": torch.tensor([0.0]),
        "2.weight": torch.ones(2),
    }
    after = {
        "0.weight": torch.tensor([[2.0, -3.0]]),
        "0.bias": torch.tensor([3.0]),
        "2.weight": torch.ones(2),
    }
    assert sensitivity(before, after).tolist() == [2.0, 0.0]


def test_modules_by_name():
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 3)
    )
    params = dict(module.named_parameters())
    assert named_modules("head", module, params) == [False, False, False, True]
    assert named_modules("norm + head", module, params) == [False, True, False, True]
    assert named_modules("first,3", module, params) == [True, False, True, False]
    assert named_modules(["1", "4"], module, params) == [False, True, False, True]
    assert named_modules("all", module, params) == [True] * 4


def test_the_figure(tmp_path):
    frame = measure_sensitivity(
        tiny_stream("class", (10, 12, 7)), model=tiny_norm, seeds=2, epochs=2, batch_size=4
    )
    figure = plot_sensitivity(frame, tmp_path / "moves.png")
    assert (tmp_path / "moves.png").stat().st_size > 5_000
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"1", "2", "5"}
    with pytest.raises(PerdureError, match="expected a column 'module'"):
        plot_sensitivity(frame.drop(columns="module"))
    with pytest.raises(PerdureError, match="empty"):
        plot_sensitivity(frame[:0])
    with pytest.raises(PerdureError, match="a file that ends in"):
        plot_sensitivity(frame[:0], tmp_path / "moves.jpg")
    with pytest.raises(PerdureError, match="unknown setting 'speed'"):
        measure_sensitivity(tiny_stream("class"), speed=1)


def test_the_figure_has_room_for_many_modules(tmp_path):
    rows = [(0, 0, epoch, f"{i}.conv", 0.1 / (i + epoch)) for i in range(24) for epoch in (1, 2)]
    frame = pd.DataFrame(rows, columns=["seed", "task", "epoch", "module", "sensitivity"])
    figure = plot_sensitivity(frame, tmp_path / "many.svg")  # a legend without room would warn
    axes = figure.axes[0]
    assert len(axes.get_legend().get_texts()) == 24
    assert axes.get_window_extent().width > 0.3 * figure.bbox.width
