"""ReDo: scores, the moment of renewal and the revival of dead units."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies import ReDo
from perdure.strategies.contract.phase import Step


def test_it_keeps_the_contract(level):
    check_strategy(ReDo(every=2, threshold=1.0), level=level)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()


@pytest.fixture
def place():
    """A net, its parameters with a dead unit, and samples."""
    module = model()
    params = {k: v.detach().clone() for k, v in module.named_parameters()}
    return Net(module, {}, None, Classification(), training=True), params, torch.randn(16, 4).double()


def stepped(strategy, state, params, net, x):
    zero = torch.tensor(0)
    n = len(x)
    rows = {"x": x, "y": torch.zeros(n, dtype=torch.int64), "task": torch.zeros(n, dtype=torch.int64)}
    batch = Batch({**rows, "weight": torch.ones(n, dtype=x.dtype)}, zero, Rng(zero, zero))
    return strategy.after_step(net, params, state, Step(batch, params, params))


def test_a_dead_unit_is_revived_and_outputs_do_not_change(place):
    net, params, x = place
    strategy = ReDo(every=2, threshold=0.0)
    state = strategy.init(net, params, None)
    params["0.bias"][1] = -100.0
    task = torch.zeros(16, dtype=torch.int64)
    same, state = stepped(strategy, state, params, net, x)
    assert all(torch.equal(same[k], params[k]) for k in params)  # only every second step
    new, state = stepped(strategy, state, same, net, x)
    assert torch.equal(net.eval()(new, x, task), net.eval()(params, x, task))
    assert new["2.weight"][:, 1].tolist() == [0.0, 0.0, 0.0]
    others = [0, 2, 3, 4]
    for k in ("0.weight", "0.bias"):
        assert torch.equal(new[k][others], params[k][others])
    assert torch.equal(new["2.weight"][:, others], params["2.weight"][:, others])
    alive, _ = net.inside(new, x, task, "2")
    assert alive[:, 1].max() > 0
    assert strategy.report(state)["renewed"].item() == 1
    # A unit that is alive again, if of no use yet, is left alone.
    again, state = stepped(strategy, state, new, net, x)
    again, state = stepped(strategy, state, again, net, x)
    assert strategy.report(state)["renewed"].item() == 1


def test_scores_by_hand():
    module = nn.Sequential(nn.Linear(1, 3, bias=False), nn.Identity(), nn.Linear(3, 1, bias=False)).double()
    net = Net(module, {}, None, Classification(), training=True)
    params = {
        "0.weight": torch.tensor([[1.0], [-3.0], [8.0]]).double(),
        "2.weight": torch.ones(1, 3).double(),
    }
    # Mean |h| are 2 |w|, and scores 1 / 4, 3 / 4 and 2.
    x = torch.tensor([[1.0], [-3.0]]).double()
    for threshold, left in ((0.2, [1, 1, 1]), (0.25, [0, 1, 1]), (0.8, [0, 0, 1]), (2.0, [0, 0, 0])):
        strategy = ReDo(every=1, threshold=threshold)
        new, _ = stepped(strategy, strategy.init(net, params, None), params, net, x)
        assert new["2.weight"].tolist() == [left]


def test_a_silent_layer_starts_anew_as_a_whole(place):
    net, params, x = place
    strategy = ReDo(every=1, threshold=0.0)
    state = strategy.init(net, params, None)
    params["0.bias"] = torch.full((5,), -100.0).double()
    new, _ = stepped(strategy, state, params, net, x)
    assert (new["0.bias"] > -100).all()
    assert not new["2.weight"].any()


def test_where_nothing_is_dormant_it_is_naive_to_the_bit():
    results = compare(
        "permuted-digits(tasks=2) | limit(100)", ["naive", "redo", "redo(every=2, threshold=10.0)"], seeds=2,
        epochs=1, quiet=True, model="mlp(hidden=[8])", dtype="float64",
    )  # fmt: skip
    naive, none, many = results.scores.values()
    np.testing.assert_array_equal(naive, none)
    assert not np.array_equal(naive, many)
    renewed = results.extras["redo(every=2, threshold=10.0)"]["report"]["redo"]["renewed"]
    steps = results.costs["naive"]["steps"]
    assert renewed == [8 * (steps // 2)] * 2  # no score is above 8, the number of units


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"every": 0}, "every must be a whole number of at least 1; found 0"),
        ({"threshold": -1.0}, "threshold must be at least 0; found -1.0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        ReDo(**values)
    assert str(caught.value) == line
