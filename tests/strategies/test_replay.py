from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.engine.engine import Engine
from perdure.scenarios import from_arrays
from perdure.scenarios.contract.objective import Regression
from perdure.strategies import DERpp, Naive, Replay
from perdure.testing import check_strategy, tiny_model, tiny_stream
from perdure.training import Training


def forgetting(scores):
    """Best earlier score minus the last, mean over the tasks but the last and over replicas."""
    return float((scores[:, :-1].max(1) - scores[:, -1])[:, :-1].mean())


def small(policy="reservoir", batch_size=2):
    """A model of one weight, w = 1, and a batch of two samples that it should take to 0."""
    strategy = Replay(3, batch_size, policy)
    module = nn.Linear(1, 1, bias=False).double()
    params = {"weight": torch.ones(1, 1, dtype=torch.float64)}
    net = Net(module, {}, None, Regression(), training=True)
    x = np.ones((6, 1))
    stream = from_arrays([((x, x[:, 0]), (x, x[:, 0]))], objective="regression")
    zero, task = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    batch = Batch(
        {"x": torch.tensor([[1.0], [2.0]]).double(), "y": zero, "task": task, "weight": zero + 1}, task[0],
        Rng(torch.tensor(0), torch.tensor(0)),
    )  # fmt: skip
    return strategy, net, params, strategy.init(net, params, stream), batch


def test_the_loss_is_the_mean_over_both_batches_and_over_one_while_the_memory_is_empty():
    strategy, net, params, state, batch = small()
    joined = strategy.batch(net.eval(), params, state, batch)
    assert net.losses(params, joined).tolist() == [(1 + 4) / 2]
    state["x"][0], state["y"][0], state["filled"][0] = 3.0, 1.0, True
    joined = strategy.batch(net.eval(), params, state, batch)
    # Squared errors: 1 and 4 of what came in, (3 - 1)^2 of the only sample remembered, drawn twice.
    assert net.losses(params, joined).tolist() == [(1 + 4 + 4 + 4) / 4]
    assert strategy.losses(net, params, state, joined, net.losses(params, joined)).tolist() == [13 / 4]


def test_by_default_as_many_are_drawn_as_came_in_whatever_others_joined():
    strategy, net, params, state, batch = small(batch_size=None)
    once = strategy.batch(net.eval(), params, state, batch)
    other = replace(once, rng=once.rng.scoped("other"))
    assert len(once) == 4
    assert len(strategy.batch(net.eval(), params, state, other)) == 6


def train(strategy, stream, epochs=1):
    training = Training(epochs, 4, lr=0.05, device="cpu", dtype="float64")
    engine = Engine(stream, strategy, training, tiny_model, [0, 1])
    replica = engine.start()
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
    return replica.state


@pytest.mark.parametrize("epochs", [1, 2])
def test_beside_each_other_memories_take_what_came_in_and_nothing_of_each_other(epochs):
    stream = tiny_stream("class", (9, 12, 7))
    state = train(Replay(60) + DERpp(10), stream, epochs)
    for memory in (state["replay"], state["derpp"]):
        assert memory["seen"].tolist() == [28 * epochs] * 2
    own = state["replay"]
    for r in range(2):
        for t, task in enumerate(stream):
            mine = own["filled"][r] & (own["task"][r] == t)
            held = sorted(own["x"][r][mine].sum(-1).tolist())
            once = sorted(task.train.x.double().sum(-1).tolist() * epochs)
            assert held == pytest.approx(once, abs=1e-12)
            assert set(own["y"][r][mine].tolist()) <= set(task.outputs)


def test_filled_at_task_ends_memory_is_of_past_tasks_in_equal_shares():
    stream = tiny_stream("class", (9, 12, 7))
    by_task = train(Replay(6, policy="task"), stream)["replay"]
    by_class = train(Replay(6, policy="class"), stream)["replay"]
    for r in range(2):
        assert torch.bincount(by_task["task"][r]).tolist() == [2, 2, 2]
        assert torch.bincount(by_class["y"][r]).tolist() == [1] * 6


@pytest.fixture(scope="module")
def digits():
    strategies = [Naive(), Replay(200), Replay(200, policy="class"), Replay(200, policy="task")]
    settings = {"epochs": 6, "quiet": True, "dtype": "float64"}
    return strategies, settings, compare("split-digits", strategies, seeds=3, **settings).scores


def test_replay_forgets_far_less_than_naive(digits):
    _, _, scores = digits
    naive = forgetting(scores["naive"])
    assert naive > 0.9
    for name, one in scores.items():
        assert name == "naive" or forgetting(one) < 0.35 * naive, name


def test_a_replica_learns_the_same_alone(digits):
    strategies, settings, scores = digits
    alone = compare("split-digits", strategies[1:3], seeds=[2], **settings).scores
    for one, name in zip(alone.values(), list(scores)[1:3], strict=True):
        np.testing.assert_allclose(one[0], scores[name][2], atol=1e-9)


def test_contract_while_the_memory_overflows(level):
    check_strategy(Replay(6), level=level)
    check_strategy(Replay(5, 3, "class"), tiny_stream("class"), level=level)


def test_refusals():
    with pytest.raises(PerdureError, match=r"capacity must be a whole number of at least 1; found 0"):
        Replay(0)
    with pytest.raises(PerdureError, match="batch_size"):
        Replay(batch_size=0)
    with pytest.raises(PerdureError, match="policy"):
        Replay(policy="oldest")
    with pytest.raises(PerdureError, match=r"needs labels that are classes"):
        small("class")
