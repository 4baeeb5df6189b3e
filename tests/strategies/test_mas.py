"""Memory aware synapses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import CLOSED, Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies import MAS
from perdure.strategies.parts.importance import _by_layer, _by_sample, _linear_layers, gradient_powers
from perdure.strategies.regularization.mas import squared_norm


def batch_of(x, y, weight=None, task=None):
    zero = torch.tensor(0)
    n = len(x)
    return Batch(
        {
            "x": x, "y": y, "task": torch.zeros(n, dtype=torch.int64) if task is None else task,
            "weight": torch.ones(n, dtype=x.dtype) if weight is None else weight,
        }, zero, Rng(zero, zero),
    )  # fmt: skip


def net_of(module, masks=None):
    module = module.double()
    return Net(module, {}, masks, Classification()), {k: v.detach() for k, v in module.named_parameters()}


def test_importance_by_hand():
    # f = w x with w = 3 and x = 1, -2: ||f||^2 = 9 and 36, slopes 2 w x^2 = 6 and 24, mean 15.
    # With the second output shut on this task its weight counts nothing.
    net, _ = net_of(nn.Linear(1, 2, bias=False), torch.tensor([[True, False]]))
    params = {"weight": torch.tensor([[3.0], [7.0]]).double()}
    strategy = MAS()
    x = torch.tensor([[1.0], [-2.0]]).double()
    sums = strategy.accumulate(
        net, params, strategy.init(net, params, None), batch_of(x, torch.zeros(2).long())
    )
    importance = sums["importance"]["weight"] / sums["count"]
    assert importance.flatten().tolist() == [15.0, 0.0]


def test_closed_outputs_do_not_count():
    output = torch.tensor([[1.0, 2.0, CLOSED], [CLOSED, CLOSED, 3.0]])
    assert squared_norm(output, None).tolist() == [5.0, 9.0]


def test_padding_and_labels_do_not_count():
    torch.manual_seed(0)
    net, params = net_of(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    x, y = torch.randn(5, 3).double(), torch.tensor([0, 1, 0, 1, 1])
    weight = torch.tensor([1.0, 1, 1, 0, 0]).double()
    one = MAS().accumulate(net, params, {}, batch_of(x, y, weight))
    other = MAS().accumulate(net, params, {}, batch_of(x[:3], 1 - y[:3]))
    for a, b in zip(one["importance"].values(), other["importance"].values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_by_layer_is_by_sample():
    torch.manual_seed(1)
    net, params = net_of(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
    batch = batch_of(torch.randn(7, 4).double(), torch.randint(3, (7,)), torch.rand(7).double())
    layers = _linear_layers(net, params, batch)
    a = _by_layer(net, params, batch, squared_norm, 1, layers)
    b = _by_sample(net, params, batch, squared_norm, 1)
    c = _by_sample(replace(net, mappable=False), params, batch, squared_norm, 1)
    for k in params:
        torch.testing.assert_close(a[k], b[k], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(b[k], c[k], rtol=1e-12, atol=1e-12)
    assert gradient_powers(net, params, batch, squared_norm, 1)["0.weight"].equal(a["0.weight"])


def done(values, measured):
    return type("Done", (), {"accumulated": {"importance": {"w": torch.tensor(values)}, "count": measured}})()


@pytest.mark.parametrize(("alpha", "expected"), [(None, [2.0, 7.0]), (0.25, [2.0, 4.25])])
def test_importances_are_summed_or_averaged(alpha, expected):
    strategy, params = MAS(alpha=alpha), {"w": torch.tensor([1.0])}
    state = strategy.init(None, params, None)
    # First task 4 / 2 = 2, second 10 / 2 = 5; a quarter of 2 and three quarters of 5 are 4.25.
    for value, total in zip([4.0, 10.0], expected, strict=True):
        params, state = strategy.end_task(None, params, state, done([value], 2.0))
        assert state["importance"]["w"].item() == total
    grads = strategy.gradient(None, {"w": torch.tensor([3.0])}, state, {"w": torch.tensor([0.5])}, None)
    assert grads["w"].item() == pytest.approx(0.5 + 2 * 0.03 * expected[-1] * 2.0)


def test_it_forgets_less_than_naive_and_without_strength_is_naive():
    results = compare(
        "permuted-digits(tasks=3)", ["naive", "mas", "mas(strength=0.0)"], model="mlp(hidden=[64])", seeds=3,
        epochs=2, quiet=True, dtype="float64",
    )  # fmt: skip
    naive, mas, zero = results.scores.values()
    np.testing.assert_array_equal(naive, zero)
    np.testing.assert_array_equal(naive[:, 0], mas[:, 0])
    assert mas[:, -1, :-1].mean() > naive[:, -1, :-1].mean()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"strength": -1}, "strength must be at least 0; found -1"),
        ({"alpha": 2}, "alpha must lie in [0, 1] or be None; found 2"),
        ({"samples": 0}, "samples must be at least 1; found 0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        MAS(**values)
    assert str(caught.value) == line
