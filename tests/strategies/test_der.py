import math

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import CLOSED, Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import from_arrays
from perdure.scenarios.contract.objective import Classification
from perdure.strategies import DER, DERpp, Naive, Phase, Step, TaskData
from perdure.testing import check_strategy, tiny_stream


def forgetting(scores):
    """Best earlier score minus the last, mean over the tasks but the last and over replicas."""
    return float((scores[:, :-1].max(1) - scores[:, -1])[:, :-1].mean())


def small(strategy, masks=None):
    """Outputs (x, -x) for an input x, a batch of one sample x = 1 of class 0, and an empty memory."""
    module = nn.Linear(1, 2, bias=False).double()
    params = {"weight": torch.tensor([[1.0], [-1.0]], dtype=torch.float64)}
    net = Net(module, {}, masks, Classification(), training=True)
    one = torch.ones(1, 1, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.int64)
    batch = Batch(
        {"x": one, "y": zero, "task": zero, "weight": one[0]}, zero[0], Rng(torch.tensor(0), torch.tensor(0))
    )
    state = {
        "x": torch.zeros(3, 1, dtype=torch.float64),
        "y": torch.zeros(3, dtype=torch.int64),
        "task": torch.zeros(3, dtype=torch.int64),
        "key": torch.zeros(3, dtype=torch.int64),
        "filled": torch.zeros(3, dtype=torch.bool),
        "seen": torch.zeros((), dtype=torch.int64),
        "logits": torch.zeros(3, 2, dtype=torch.float64),
    }
    return net, params, state, batch


def loss(strategy, net, params, state, batch):
    joined = strategy.batch(net.eval(), params, state, batch)
    return strategy.losses(net, params, state, joined, net.losses(params, joined)).item()


def remember(state, x, logits, task=0):
    state["x"][0], state["filled"][0], state["task"][0] = x, True, task
    state["logits"][0] = torch.tensor(logits, dtype=torch.float64)


COMING = math.log(1 + math.exp(-2))  # Cross-entropy of the outputs (1, -1) at class 0.


def test_loss_of_der_by_hand():
    strategy = DER(3, alpha=0.5, batch_size=4)
    net, params, state, batch = small(strategy)
    assert loss(strategy, net, params, state, batch) == pytest.approx(COMING, abs=1e-12)
    remember(state, 3.0, (2.0, 0.0))
    # The outputs are (3, -3) now: a mean squared distance of (1 + 9) / 2 = 5.
    assert loss(strategy, net, params, state, batch) == pytest.approx(COMING + 0.5 * 5, abs=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_loss_of_derpp_by_hand(shared):
    strategy = DERpp(3, alpha=0.1, beta=0.5, shared=shared)
    net, params, state, batch = small(strategy)
    assert loss(strategy, net, params, state, batch) == pytest.approx(COMING, abs=1e-12)
    remember(state, 3.0, (2.0, 0.0))
    labels = math.log(1 + math.exp(-6))
    expected = COMING + 0.1 * 5 + 0.5 * labels
    assert loss(strategy, net, params, state, batch) == pytest.approx(expected, abs=1e-12)
    assert len(strategy.batch(net, params, state, batch)) == (2 if shared else 3)


def test_the_two_draws_of_derpp_are_independent():
    strategy = DERpp(3, alpha=0.5, beta=0.25, batch_size=20)
    net, params, state, batch = small(strategy)
    state["x"][:, 0] = torch.tensor([1.0, 2.0, 5.0])
    state["filled"] = state["filled"] | True
    x = strategy.batch(net.eval(), params, state, batch).x[1:, 0]
    assert x[:20].tolist() != x[20:].tolist()
    # The outputs (x, -x) were 0 when stored; the class is 0.
    expected = COMING + 0.5 * x[:20].square().mean() + 0.25 * torch.log1p(torch.exp(-2 * x[20:])).mean()
    assert loss(strategy, net, params, state, batch) == pytest.approx(float(expected), abs=1e-12)


def test_closed_outputs_of_other_tasks_differ_by_nothing():
    strategy = DER(3, alpha=1.0)
    net, params, state, batch = small(strategy, masks=torch.tensor([[True, True], [True, False]]))
    remember(state, 3.0, (2.0, CLOSED), task=1)
    assert loss(strategy, net, params, state, batch) == pytest.approx(COMING + 1 / 2, abs=1e-12)


def test_stored_outputs_are_those_before_the_step_of_what_came_in():
    strategy = DER(3)
    net, params, state, batch = small(strategy)
    joined = strategy.batch(net.eval(), params, state, batch)
    moved = {"weight": params["weight"] * 7}
    _, state = strategy.after_step(net, moved, state, Step(joined, params, params))
    assert state["logits"].tolist() == [[1, -1], [0, 0], [0, 0]]
    assert state["filled"].tolist() == [True, False, False]


@pytest.mark.parametrize("capacity", [3, 40])
def test_filled_at_task_ends_a_sample_keeps_the_outputs_of_the_model_of_its_own_task(capacity):
    strategy = DER(capacity, policy="task")
    module = nn.Linear(1, 2, bias=False).double()
    net = Net(module, {}, None, Classification())
    stream = from_arrays([((np.ones((6, 1)), np.arange(6) % 2),) * 2] * 3)
    state = strategy.init(net, {"weight": module.weight.detach()}, stream)
    for t in range(3):
        params = {"weight": torch.tensor([[1.0], [-1.0]], dtype=torch.float64) * (t + 1)}
        x, index = torch.arange(8).double().unsqueeze(1) + 10 * t, torch.arange(8)
        rng = Rng(torch.tensor(0), torch.tensor(t))
        data = TaskData(
            t, {"x": x, "y": index % 2, "task": torch.full((8,), t)}, index < 2, rng, Phase((t,)), {}
        )
        params, state = strategy.end_task(net, params, state, data)
    held = state["filled"]
    expected = state["x"][:, 0] * (state["task"] + 1)
    assert torch.bincount(state["task"][held]).tolist() == ([1, 1, 1] if capacity == 3 else [8, 8, 8])
    assert torch.equal(state["logits"][held], torch.stack([expected, -expected], 1)[held])
    assert torch.equal(state["x"][:, 0][held] // 10, state["task"][held].double())


@pytest.fixture(scope="module")
def digits():
    # Outputs before the softmax are matched: a class-incremental stream needs the labels as well.
    strategies = [Naive(), DER(200, alpha=5.0), DERpp(200), DERpp(200, policy="class", shared=True)]
    settings = {"epochs": 6, "quiet": True, "dtype": "float64"}
    return strategies, settings, compare("split-digits", strategies, seeds=3, **settings).scores


def test_der_forgets_less_than_naive_and_derpp_far_less(digits):
    scores = list(digits[2].values())
    naive, der, *plus = (forgetting(one) for one in scores)
    assert der < 0.9 * naive
    assert max(plus) < 0.4 * naive


def test_a_replica_learns_the_same_alone(digits):
    strategies, settings, scores = digits
    alone = compare("split-digits", strategies[2:], seeds=[2], **settings).scores
    for one, name in zip(alone.values(), list(scores)[2:], strict=True):
        np.testing.assert_allclose(one[0], scores[name][2], atol=1e-9)


def test_contract_while_the_memory_overflows(level):
    check_strategy(DERpp(6), level=level)
    check_strategy(DER(5, policy="class"), tiny_stream("class"), level=level)
    check_strategy(DERpp(5, policy="task", shared=True), tiny_stream("task"), level=level)


def test_refusals():
    with pytest.raises(PerdureError, match=r"alpha must be at least 0; found -1"):
        DER(alpha=-1)
    with pytest.raises(PerdureError, match="beta"):
        DERpp(beta=-1)
    with pytest.raises(PerdureError, match="policy"):
        DERpp(policy="oldest")
