"""The single-task baseline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perdure import compare
from perdure.core.net import Net
from perdure.scenarios import Classification
from perdure.strategies import Single
from perdure.testing import tiny_model, tiny_norm, tiny_stream


def score(stream, strategies=("single",), **changes):
    settings = {"model": tiny_norm, "seeds": 3, "batch_size": 4, "epochs": 3, "optimizer": "adam", "lr": 0.02}
    return compare(stream, list(strategies), quiet=True, **{**settings, **changes}).scores


def test_every_task_is_scored_by_its_own_model():
    stream = tiny_stream("task", (8, 8, 8), 1)
    net = Net(nn.Linear(5, 3), {}, None, Classification())
    params = {"weight": torch.zeros(3, 5), "bias": torch.zeros(3)}
    strategy = Single()
    state = strategy.init(net, params, stream)
    for t in range(3):
        done = type("Done", (), {"index": t})()
        learned = {"weight": torch.zeros(3, 5), "bias": torch.full((3,), float(t + 1))}
        _, state = strategy.end_task(net, learned, state, done)
    output = strategy.forward(net, params, state, torch.ones(5, 5), torch.tensor([2, 0, 1, 1, 2]))
    assert output[:, 0].tolist() == [3.0, 1.0, 2.0, 2.0, 3.0]
    back, state = strategy.begin_task(net, learned, state, type("Done", (), {"index": 1})())
    assert back["bias"].tolist() == [0.0] * 3
    # The model that is learning answers for its task as far as it has come.
    output = strategy.forward(net, back, state, torch.ones(5, 5), torch.tensor([2, 0, 1, 1, 2]))
    assert output[:, 0].tolist() == [3.0, 1.0, 0.0, 0.0, 3.0]


@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_what_was_learned_before_makes_no_difference(setting):
    # Moments, weights or running statistics that leaked would show in the last task's score or outputs.
    stream = tiny_stream(setting, (12, 12, 40))
    other = stream.with_tasks([replace(stream[0], train=replace(stream[0].train, x=-stream[0].train.x * 9)),
                               replace(stream[1], train=replace(stream[1].train, x=stream[1].train.x + 5)),
                               stream[2]])  # fmt: skip
    one, two = score(stream)["single"], score(other)["single"]
    np.testing.assert_array_equal(one[:, :, 2], two[:, :, 2])


def final(stream):
    """The bank of models after all tasks."""
    from perdure.engine.engine import Engine
    from perdure.optim.adam import Adam
    from perdure.training import Training

    engine = Engine(stream, Single(), Training(1, 4, Adam(), 0.02, device="cpu"), tiny_norm, [0, 1])
    replica = engine.start()
    for phase in engine.strategy.phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
    return replica.state["single"]["bank"]


def test_no_tensor_of_a_tasks_model_depends_on_the_task_before():
    stream = tiny_stream("domain", (12, 12))
    other = stream.with_tasks(
        [replace(stream[0], train=replace(stream[0].train, x=-stream[0].train.x * 9)), stream[1]]
    )
    one, two = final(stream), final(other)
    assert {"2.running_mean", "2.running_var", "1.weight"} <= set(one)
    for k in one:
        assert torch.equal(one[k][:, 1], two[k][:, 1]), k
        if "num_batches" not in k:
            assert not torch.equal(one[k][:, 0], two[k][:, 0]), k


def test_the_first_task_is_learned_as_naive_does_and_the_untrained_score_is_that_of_the_start():
    stream = tiny_stream("domain", (12, 12))
    results = compare(stream, ["naive", "single"], model=tiny_norm, seeds=3, batch_size=4, quiet=True)
    assert results.scores["single"].shape == (3, 1, 2)
    np.testing.assert_array_equal(results.scores["single"][:, 0, 0], results.scores["naive"][:, 0, 0])
    np.testing.assert_array_equal(results.untrained["single"], results.untrained["naive"])


def test_nothing_is_forgotten():
    results = compare("split-digits", ["naive", "single"], model="mlp(hidden=[32])", seeds=2, quiet=True)
    assert results.scores["single"].mean() > 0.9
    assert results.scores["naive"][:, -1].mean() < 0.4


def test_a_stream_of_one_task_is_naive():
    stream = tiny_stream("domain", (12,))
    scores = score(stream, ["naive", "single"], model=tiny_model)
    np.testing.assert_array_equal(scores["naive"], scores["single"])


def test_the_curve_tells_how_each_task_is_learned_alone():
    stream = tiny_stream("domain", (12, 12))
    settings = {"model": tiny_norm, "seeds": 3, "batch_size": 4, "epochs": 3, "eval_every": 2}
    results = compare(stream, ["naive", "single"], quiet=True, **settings)
    naive, single = results.curves["naive"], results.curves["single"]
    np.testing.assert_array_equal(single.stage, naive.stage)
    np.testing.assert_array_equal(single.steps, naive.steps)
    own = single.stage == 0
    np.testing.assert_array_equal(single.scores[:, own, 0], naive.scores[:, own, 0])
    # What is not learned yet is untrained; what was learned stays.
    untrained = np.repeat(results.untrained["single"][:, None, 1], own.sum(), 1)
    np.testing.assert_array_equal(single.scores[:, own, 1], untrained)
    np.testing.assert_array_equal(single.scores[:, -1], results.scores["single"][:, 0])
    last = single.scores[:, own][:, -1:, 0]
    np.testing.assert_array_equal(single.scores[:, ~own, 0], np.repeat(last, (~own).sum(), 1))
    assert results.curves["single"].scores[:, -1, 0].tolist() == results.scores["single"][:, 0, 0].tolist()
