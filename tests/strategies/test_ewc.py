"""Elastic weight consolidation."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies import EWC, OnlineEWC
from perdure.strategies.parts.importance import _by_layer, _by_sample, _linear_layers, gradient_powers
from perdure.strategies.regularization.ewc import fisher_sum
from perdure.testing import tiny_stream


def batch_of(x, y, weight=None, seed=0):
    zero = torch.tensor(0)
    n = len(x)
    weight = torch.ones(n, dtype=x.dtype) if weight is None else weight
    return Batch(
        {"x": x, "y": y, "task": torch.zeros(n, dtype=torch.int64), "weight": weight},
        zero,
        Rng(torch.tensor(seed), zero),
    )


def net_of(module):
    module = module.double()
    return Net(module, {}, None, Classification()), {k: v.detach() for k, v in module.named_parameters()}


def test_fisher_of_logistic_regression_by_hand():
    # Two outputs w x with w = (0, log 3): at x = 1 probabilities (1/4, 3/4), at x = -1 (3/4, 1/4).
    # The slope of the loss at w is (p - [label]) x.
    # Sample 1, x = 1, label 0: (-3/4, 3/4), squares 9/16. Sample 2, x = -1, label 0: -(-1/4, 1/4),
    # squares 1/16. Sample 3, x = 2 at which p = (1/10, 9/10), label 1: (1/10, -1/10) * 2, squares 1/25.
    net, _ = net_of(nn.Linear(1, 2, bias=False))
    params = {"weight": torch.tensor([[0.0], [3.0]]).double().log().clamp_min(0)}
    x, y = torch.tensor([[1.0], [-1.0], [2.0]]).double(), torch.tensor([0, 0, 1])
    sums = EWC().accumulate(net, params, {}, batch_of(x, y))
    mean = (9 / 16 + 1 / 16 + 1 / 25) / 3
    assert (sums["fisher"]["weight"] / sums["count"]).flatten().tolist() == pytest.approx([mean, mean])


def test_the_batch_estimate_by_hand():
    # w = 0: slopes of the two samples are (-1/2, 1/2) 1 and (1/2, -1/2) 3, of their mean (1/2, -1/2);
    # its square times the two samples is 1/2. The true sum is 1/4 + 9/4.
    net, _ = net_of(nn.Linear(1, 2, bias=False))
    params = {"weight": torch.zeros(2, 1).double()}
    batch = batch_of(torch.tensor([[1.0], [3.0]]).double(), torch.tensor([0, 1]))
    assert fisher_sum(net, params, batch, "batch")["weight"].flatten().tolist() == pytest.approx([0.5, 0.5])
    true = fisher_sum(net, params, batch, "empirical")["weight"].flatten().tolist()
    assert true == pytest.approx([2.5, 2.5])


def test_the_sampled_estimate_converges_to_the_fisher_information():
    # For two outputs w x the information at x is p (1 - p) x^2 in each weight: at x = 1 and p = 1/4, 3/16.
    net, _ = net_of(nn.Linear(1, 2, bias=False))
    params = {"weight": torch.tensor([[0.0], [3.0]]).double().log().clamp_min(0)}
    n = 40_000
    batch = batch_of(torch.ones(n, 1).double(), torch.zeros(n, dtype=torch.int64))
    sampled = fisher_sum(net, params, batch, "sampled")["weight"] / n
    # One sample's square is 9/16 with probability 1/4 and 1/16 otherwise: deviation 0.22, of the mean 0.0011.
    np.testing.assert_allclose(sampled.flatten(), [3 / 16] * 2, atol=0.005)


def test_by_layer_is_by_sample():
    torch.manual_seed(0)
    net, params = net_of(
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.Linear(5, 3))
    )
    batch = batch_of(torch.randn(9, 4).double(), torch.randint(3, (9,)), torch.rand(9).double())
    layers = _linear_layers(net, params, batch)
    assert layers is not None
    one = _by_layer(net, params, batch, net.objective.loss, 2, layers)
    two = _by_sample(net, params, batch, net.objective.loss, 2)
    assert list(one) == list(two) == list(params)
    for k in params:
        torch.testing.assert_close(one[k], two[k], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(9, 3), nn.LayerNorm(3)),
    ],
)
def test_other_models_go_by_sample(module):
    torch.manual_seed(0)
    net, params = net_of(module)
    batch = batch_of(torch.randn(5, 1, 3, 3).double(), torch.randint(3, (5,)), torch.rand(5).double())
    assert _linear_layers(net, params, batch) is None
    found = gradient_powers(net, params, batch, net.objective.loss, 2)
    for k, p in module.named_parameters():
        expected = torch.zeros_like(p)
        for x, y, weight in zip(batch.x, batch.y, batch.weight, strict=True):
            loss = nn.functional.cross_entropy(module(x[None]), y[None])
            expected += weight * torch.autograd.grad(loss, p)[0].square()
        torch.testing.assert_close(found[k], expected.detach(), rtol=1e-10, atol=1e-14)


def ended(strategy, rounds):
    """The state after tasks with these ends and Fisher sums of two samples."""
    params = {"w": torch.zeros(3, dtype=torch.float64)}
    state = strategy.init(None, params, None)
    for weights, fisher in rounds:
        done = type("Done", (), {"accumulated": {"fisher": {"w": 2 * fisher}, "count": 2.0}})()
        _, state = strategy.end_task(None, {"w": weights}, state, done)
    return state


def rounds(n):
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(3, generator=generator).double(), torch.rand(3, generator=generator).double())
        for _ in range(n)
    ]


def test_two_sums_are_the_separate_penalties():
    tasks = rounds(4)
    state = ended(EWC(7.0), tasks)
    here = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    literal = torch.func.grad(lambda w: 3.5 * sum((f * (w - at).square()).sum() for at, f in tasks))(here)
    zero = {"w": torch.zeros_like(here)}
    found = EWC(7.0).gradient(None, {"w": here}, state, zero, None)["w"]
    torch.testing.assert_close(found, literal, rtol=1e-12, atol=1e-12)


def test_the_online_penalty_is_around_the_latest_weights_with_a_fading_fisher():
    tasks = rounds(3)
    strategy = OnlineEWC(7.0, decay=0.5)
    state = ended(strategy, tasks)
    fisher = tasks[0][1] / 4 + tasks[1][1] / 2 + tasks[2][1]
    here = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    found = strategy.gradient(None, {"w": here}, state, {"w": torch.zeros_like(here)}, None)["w"]
    torch.testing.assert_close(found, 7.0 * fisher * (here - tasks[-1][0]), rtol=1e-12, atol=1e-12)


def test_online_after_one_task_is_ewc():
    results = compare(
        tiny_stream("domain", (20, 20)), ["ewc(strength=5)", "online-ewc(strength=5, decay=0.3)"], seeds=3,
        batch_size=4, model="mlp(hidden=[8])", quiet=True,
    )  # fmt: skip
    one, two = results.scores.values()
    np.testing.assert_array_equal(one, two)


def test_without_strength_it_is_naive_and_with_it_it_forgets_less():
    results = compare(
        "permuted-digits(tasks=3)", ["naive", "ewc(strength=0.0)", "ewc"], model="mlp(hidden=[64])", seeds=3,
        epochs=2, quiet=True, dtype="float64",
    )  # fmt: skip
    naive, zero, ewc = results.scores.values()
    np.testing.assert_array_equal(naive, zero)
    assert ewc[:, -1, :-1].mean() > naive[:, -1, :-1].mean()
