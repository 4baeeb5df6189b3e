"""The linear probe."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.scenarios import from_arrays
from perdure.strategies import Probe

STREAM = "split-digits(setting='task')"


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd(momentum=0.9)", 0.02), ("adamw", 0.01)])
def test_only_the_head_moves_and_nothing_is_forgotten(optimizer, lr):
    start = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    before = {k: v.clone() for k, v in start.named_parameters()}
    results = compare(
        STREAM, ["probe"], model=start, pretrained=True, seeds=2, optimizer=optimizer, lr=lr,
        epochs=4, quiet=True, keep=True,
    )  # fmt: skip
    end = results.trained["probe"].params(0)
    assert [torch.equal(end[k], v) for k, v in before.items()] == [True, True, False, False]
    scores = results.scores["probe"]
    for t in range(5):
        np.testing.assert_array_equal(scores[:, t:, t], scores[:, t : t + 1, t].repeat(5 - t, 1))
    assert scores[:, -1].mean() > 0.9


def test_one_step_by_hand():
    # Features 2x with a frozen weight of 2; logits (w1, w2) h, h = 2: the slope of the loss at 0 is -+ h / 2.
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)
            nn.init.constant_(self.first.weight, 2.0)
            nn.init.zeros_(self.head.weight)

        def forward(self, x):
            return self.head(self.first(x))

    x, y = torch.ones(4, 1), torch.zeros(4, dtype=torch.int64)
    both = (torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1]))
    stream = from_arrays([((x, y), both)], setting="domain", val=0.25)
    results = compare(
        stream, ["probe"], model=Model, seeds=1, epochs=1, batch_size=4, lr=0.1, quiet=True, keep=True
    )
    end = results.trained["probe"].params()
    assert end["first.weight"].item() == 2.0
    torch.testing.assert_close(end["head.weight"].flatten(), torch.tensor([0.1, -0.1]))


def test_running_statistics_are_put_back():
    results = compare(
        "split-digits(tasks=2)", ["probe"], model="resnet(width=4, blocks=1)", seeds=1, epochs=1,
        quiet=True, keep=True,
    )  # fmt: skip
    buffers = results.trained["probe"].buffers()
    means = [v for k, v in buffers.items() if k.endswith("running_mean")]
    assert means
    assert all((v == 0).all() for v in means)


def test_a_module_that_does_not_exist():
    with pytest.raises(PerdureError, match="body"):
        compare(STREAM, [Probe("body")], seeds=1, quiet=True)
