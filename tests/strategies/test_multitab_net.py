"""MultiTab-Net on streams: one phase for all tasks, the context, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.analysis import multi_task_gain
from perdure.engine.engine import Engine
from perdure.models.sharing import MultiTabNet
from perdure.scenarios import Regression, from_arrays
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.strategies import MultiTab, get
from perdure.testing import TinyTokens, check_strategy, tiny_model, tiny_norm, tiny_stream
from perdure.training import Training

SMALL = MultiTab(width=8, heads=2, hidden=12, head=6, context=5)


def run(stream, strategy=SMALL, **changes):
    settings = {
        "model": tiny_model,
        "seeds": 2,
        "batch_size": 4,
        "epochs": 2,
        "optimizer": "adamw",
        "lr": 0.01,
    }
    return compare(stream, [strategy], quiet=True, **{**settings, **changes})


def scores(*args, **changes):
    (found,) = run(*args, **changes).scores.values()
    return found


def test_it_keeps_the_contract(level):
    check_strategy(SMALL, level=level)


def test_it_keeps_the_contract_with_other_settings(level):
    strategy = MultiTab("both", 8, 2, 2, 12, 6, inter_sample=False)
    check_strategy(strategy, tiny_stream("task", (9, 12, 7), kind="real"), level=level)


def test_the_gain_over_itself_is_nothing():
    stream = tiny_stream("task", 2, kind="real")
    one, two = scores(stream), scores(stream)
    assert (multi_task_gain(one, two[:, -1]) == 0).all()


def test_all_tasks_are_learned_in_one_phase():
    (phase,) = SMALL.phases(tiny_stream("task", 3))
    assert (phase.tasks, phase.batch_per_task) == ((0, 1, 2), True)


@pytest.mark.parametrize(("context", "held"), [(5, 5), (40, 28)])
def test_the_context_is_training_samples(walk, context, held):
    stream = tiny_stream("task", (9, 12, 7))
    every = torch.cat([task.train.x for task in stream]).double()
    found = {
        m: tensors for m, _, tensors, *_ in walk(MultiTab(context=context), stream, tiny_model, epochs=1)
    }
    assert not found["start"]["filled"].any()
    for moment in ("begin", "end"):
        rows, filled = found[moment]["context"], found[moment]["filled"]
        assert filled.tolist() == [True] * held + [False] * (context - held)
        place = (rows[:held].unsqueeze(1) == every).all(-1).int().argmax(1)
        torch.testing.assert_close(rows[:held], every[place])
        assert len(set(place.tolist())) == held
        assert (rows[held:] == 0).all()
    assert torch.equal(found["begin"]["context"], found["end"]["context"])


def engine(strategy, seeds=(0,), model=tiny_model):
    return Engine(tiny_stream("task", 2), strategy, Training(1, 4, "adamw", 0.01, device="cpu"), model, seeds)


def test_the_engine_knows_whether_samples_influence_each_other():
    assert engine(SMALL).sampler.exact_tails
    assert not engine(MultiTab(inter_sample=False)).sampler.exact_tails


def test_the_model_that_is_replaced_makes_no_difference():
    one, two = (engine(SMALL, (0, 1), model).start().params for model in (tiny_model, tiny_norm))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_tasks_that_share_their_rows_are_learned_from_one_batch(walk):
    (one,) = tiny_stream("task", (9,), kind="real")
    tasks = [
        Task(
            f"{t}",
            *(Part(part.x, part.y * (t + 1)) for part in (one.train, one.val, one.test)),
            (t,),
            Regression(by="r2"),
        )
        for t in range(2)
    ]
    stream = Stream("shared", tuple(tasks), "task", 2)
    # Two epochs of two batches of 4, for both tasks together.
    assert run(stream).costs[str(SMALL)]["samples_seen"] == 2 * 2 * 4
    *_, (_, _, tensors, *_) = walk(SMALL, stream, tiny_model, epochs=1)
    assert tensors["filled"].all()


def test_seeds_draw_weights_and_contexts_of_their_own():
    laid = engine(SMALL, seeds=(0, 1))
    replica, (phase,) = laid.start(), SMALL.phases(laid.stream)
    replica = laid.boundary(replica, phase, laid.load(phase), "begin_task")
    assert not torch.equal(*replica.buffers["context"])
    assert not torch.equal(*replica.params["tasks"])


def test_the_context_is_found_where_another_strategy_wraps_the_network():
    class Around(type(SMALL)):
        def extend(self, model, stream):
            return nn.Sequential(super().extend(model, stream))

    laid = engine(Around())
    replica, (phase,) = laid.start(), SMALL.phases(laid.stream)
    replica = laid.boundary(replica, phase, laid.load(phase), "begin_task")
    assert replica.buffers["0.filled"].any()


def test_what_is_replaced_by_another_is_told():
    class Gone(type(SMALL)):
        def extend(self, model, stream):
            return model

    laid = engine(Gone())
    replica, (phase,) = laid.start(), SMALL.phases(laid.stream)
    with pytest.raises(PerdureError, match="must be the last to replace the model; found Sequential"):
        laid.boundary(replica, phase, laid.load(phase), "begin_task")


@pytest.mark.parametrize("setting", ["domain", "class", "joint"])
def test_other_settings_are_refused(setting):
    with pytest.raises(PerdureError, match=f"needs the setting 'task', .* found '{setting}'"):
        run(tiny_stream(setting, 2))


def test_inputs_that_are_no_rows_of_numbers_are_refused():
    with pytest.raises(PerdureError, match=r"rows \[features\] of real numbers; found int64 \[4\]"):
        run(tiny_stream("task", 2, kind="tokens"), model=TinyTokens)
    images = (np.random.default_rng(0).normal(size=(20, 1, 4, 4)), np.arange(20) % 2)
    with pytest.raises(PerdureError, match=r"rows \[features\] of real numbers; found float32 \[1, 4, 4\]"):
        run(from_arrays([images, images], "task"))


def test_arguments_are_checked():
    with pytest.raises(PerdureError, match="width must be a multiple of 3"):
        get("multitab-net(heads=3)")


def test_it_learns_a_product_of_features_and_a_class():
    x = np.random.default_rng(0).normal(size=(600, 3))
    tasks = [(x, x[:, 0] * x[:, 1]), (x, (x[:, 1] + x[:, 2] > 0).astype(int))]
    stream = from_arrays(tasks, "task", objective=["regression(r2)", "classification"])
    found = scores(stream, MultiTab(hidden=32, context=64), seeds=1, epochs=9, batch_size=32, lr=5e-3)
    assert (found[0, 0] > 0.9).all()


def test_one_task_gets_a_network_of_one_token():
    net = SMALL.extend(nn.Linear(5, 2), tiny_stream("task", (9,), 3))
    assert isinstance(net, MultiTabNet)
    assert (len(net.tasks), net.owner) == (1, [0, 0, 0])
