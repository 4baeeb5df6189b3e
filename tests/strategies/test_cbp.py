"""Continual backpropagation: utilities and replacement by hand, and what leaves training alone."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies import CBP
from perdure.strategies.contract.phase import Step
from perdure.strategies.plasticity.cbp import least

RUN = {"seeds": 2, "epochs": 1, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[8])"}


def test_it_keeps_the_contract(level):
    check_strategy(CBP(rate=0.5, maturity=1, decay=0.5), level=level)


def test_without_replacement_it_is_naive_to_the_bit():
    stream = "permuted-digits(tasks=2) | limit(100)"
    results = compare(stream, ["naive", "cbp(rate=0.0)", "cbp(rate=0.5, maturity=1000)"], **RUN)
    naive, *others = results.scores.values()
    for scores in others:
        np.testing.assert_array_equal(naive, scores)
    assert results.extras["cbp(rate=0.0)"]["report"]["cbp"]["renewed"] == [0, 0]


def test_fractions_of_units_add_up():
    stream = "permuted-digits(tasks=2) | limit(100)"
    # An eighth of 8 units at each step, all of them old enough at once; and a sixteenth.
    for rate, each in ((0.125, 1), (0.0625, 0.5)):
        results = compare(stream, [f"cbp(rate={rate}, maturity=0)"], **RUN)
        (name,) = results.strategies
        expected = int(each * results.costs[name]["steps"])
        assert results.extras[name]["report"]["cbp"]["renewed"] == [expected, expected]


def stepped(strategy, state, params, net, x):
    zero = torch.tensor(0)
    rows = {"x": x, "y": torch.zeros(len(x), dtype=torch.int64)}
    rows |= {"task": torch.zeros(len(x), dtype=torch.int64), "weight": torch.ones(len(x), dtype=x.dtype)}
    batch = Batch(rows, zero, Rng(zero, zero))
    return strategy.after_step(net, params, state, Step(batch, params, params))


def test_three_steps_by_hand():
    module = nn.Sequential(nn.Linear(1, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)).double()
    net = Net(module, {}, None, Classification(), training=True)
    params = {
        "0.weight": torch.tensor([[1.0], [2.0], [-1.0]]).double(),
        "2.weight": torch.tensor([[1.0, -1.0, 5.0]]).double(),
    }
    # h = (1, 2, 0) and (3, 6, 0): mean contributions (2, 4, 0).
    x = torch.tensor([[1.0], [3.0]]).double()
    strategy = CBP(rate=0.4, decay=0.5, maturity=1)
    state = strategy.init(net, params, None)
    one, state = stepped(strategy, state, params, net, x)
    assert all(torch.equal(one[k], params[k]) for k in params)
    assert state["utility"]["0"].tolist() == [1.0, 2.0, 0.0]
    assert (state["age"]["0"].tolist(), state["due"]["0"].item()) == ([1, 1, 1], 0.0)
    # Now three are mature: 1.2 are due, and the dead unit is the least useful.
    two, state = stepped(strategy, state, one, net, x)
    assert two["2.weight"].tolist() == [[1.0, -1.0, 0.0]]
    assert two["0.weight"][:2].tolist() == [[1.0], [2.0]]
    assert two["0.weight"][2].item() in (1.0, 2.0, -1.0)
    assert state["age"]["0"].tolist() == [2, 2, 0]
    assert state["utility"]["0"].tolist() == [1.5, 3.0, 0.0]
    assert state["due"]["0"].item() == pytest.approx(0.2)
    # 0.2 + 0.4 * 2 = 1 is due: the unit just renewed is safe, though of no use yet.
    three, state = stepped(strategy, state, two, net, x)
    assert three["2.weight"].tolist() == [[0.0, -1.0, 0.0]]
    assert state["age"]["0"].tolist() == [0, 3, 1]
    assert strategy.report(state)["renewed"].item() == 2


def test_young_units_are_not_taken_for_useless_ones():
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    net = Net(module, {}, None, Classification(), training=True)
    params = {"0.weight": torch.ones(2, 1).double(), "2.weight": torch.tensor([[2.0, 1.5]]).double()}
    strategy = CBP(rate=0.5, decay=0.5, maturity=0)
    state = strategy.init(net, params, None)
    state["age"]["0"] = torch.tensor([0, 9])
    state["utility"]["0"] = torch.tensor([0.0, 1.5]).double()
    # Running means are 1 and 1.5, and without the zero that they began at, 2 and 1.5.
    new, state = stepped(strategy, state, params, net, torch.ones(1, 1).double())
    assert new["2.weight"].tolist() == [[2.0, 0.0]]
    assert state["utility"]["0"].tolist() == [1.0, 0.0]


def test_the_least_of_some():
    values, among = torch.tensor([1.0, 1.0, 0.0, 2.0]), torch.tensor([True, True, False, True])
    assert least(values, among, torch.tensor(1.0)).tolist() == [True, False, False, False]
    assert least(values, among, torch.tensor(9.0)).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate": 1.5}, r"rate must lie in [0, 1]; found 1.5"),
        ({"decay": 1.0}, r"decay must lie in [0, 1); found 1.0"),
        ({"maturity": -1}, "maturity must be a whole number of at least 0; found -1"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        CBP(**values)
    assert str(caught.value) == line


def test_models_that_are_no_chain_are_refused_before_any_work():
    with pytest.raises(PerdureError, match="cbp needs a sequence of linear or convolution layers") as caught:
        compare("split-digits | take(2)", ["cbp"], **{**RUN, "model": "resnet(width=4)"})
    assert "\n" not in str(caught.value)


def test_rates_are_tuned_as_replicas():
    stream = "permuted-digits(tasks=2) | limit(100)"
    tuned = compare(stream, ["cbp(maturity=0)"], tune={"cbp.rate": [0.0, 0.125]}, **RUN)
    assert len(tuned.extras["cbp(maturity=0)"]["tried"]) == 2
