"""One model for one preference: exact minimisers, weights that are zero, and what a memory is asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.experiment import make_engine
from perdure.scenarios import Part, Regression, Stream, Task
from perdure.strategies import Weighted, WeightedReplay, get
from perdure.strategies.bayesian.preference import share_out
from perdure.testing import tiny_model, tiny_norm, tiny_stream
from perdure.training import Settings, Training


def single_task(x, y, name):
    part = Part(torch.tensor(x), torch.tensor(y))
    return Task(name, part, part, part, (0,), Regression())


def regressions():
    """Two tasks of one weight: the losses are (theta - 2)^2 and 4 (theta + 1)^2."""
    tasks = (single_task([[1.0], [1.0]], [2.0, 2.0], "a"), single_task([[2.0], [2.0]], [-2.0, -2.0], "b"))
    return Stream("two", tasks, "domain", 1)


def line():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def final(stream, strategy, model=line, **chosen):
    base = {"seeds": 1, "dtype": "float64", "quiet": True, "pretrained": True, "batch_size": 2, "epochs": 1}
    model = model() if model is line else model
    base["pretrained"] = isinstance(model, nn.Module)
    trained = compare(stream, [strategy], model=model, keep=True, **{**base, **chosen}).trained
    return next(iter(trained.values())).params()


@pytest.mark.parametrize(
    "spec",
    ["weighted(preference=(0.5, 0.0, 0.5))", "weighted-replay(preference=(0.2, 0.8, 0.0), capacity=7)",
     "weighted + ewc", "weighted-replay(batch_size=3) + lwf"],
)  # fmt: skip
def test_the_contract(spec, level):
    # Of the streams of the check, those with as many tasks as the preference has weights are trained.
    check_strategy(get(spec), tiny_stream("domain", (9, 12, 7)), level=level)


# ---- all tasks at once --------------------------------------------------------------------------------


def test_a_step_by_hand():
    # At 1 the slopes are -2 and 16: 1 - 0.1 * (0.75 * -2 + 0.25 * 16) = 0.75.
    found = final(regressions(), Weighted((0.75, 0.25)), lr=0.1)
    assert found["weight"].item() == pytest.approx(0.75)


@pytest.mark.parametrize("kind", [Weighted, WeightedReplay])
@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
def test_it_finds_the_minimiser_of_the_weighted_loss(w, kind):
    # (1 - w) (theta - 2) + 4 w (theta + 1) = 0. What the memory holds of the first task is all alike.
    found = final(regressions(), kind((1 - w, w)), lr=0.05, epochs=300)
    assert found["weight"].item() == pytest.approx((2 * (1 - w) - 4 * w) / (1 + 3 * w), abs=1e-6)


def test_a_task_of_weight_0_leaves_no_trace():
    stream = tiny_stream("domain", (9, 12, 7))
    other = stream.with_tasks([stream[0], stream[1], stream[2].map_parts(lambda p: Part(p.x * 5, 1 - p.y))])
    for kind in (Weighted, WeightedReplay):
        one, two = (final(s, kind((0.4, 0.6, 0.0)), tiny_model) for s in (stream, other))
        for k, p in one.items():
            torch.testing.assert_close(p, two[k], rtol=1e-12, atol=1e-12)


def test_equal_weights_are_the_default():
    stream = tiny_stream("domain", (9, 12))
    one, two = final(stream, Weighted(), tiny_model), final(stream, Weighted((0.5, 0.5)), tiny_model)
    assert all(torch.equal(p, two[k]) for k, p in one.items())


# ---- task after task ----------------------------------------------------------------------------------


def test_nothing_is_learned_before_a_task_that_counts():
    stream = tiny_stream("domain", (9, 12, 7))
    settings = Settings(tiny_model, (0,), Training(2, 4, dtype="float64"))
    strategy = WeightedReplay((0.0, 0.5, 0.5), capacity=8)
    engine = make_engine(stream, strategy, settings)
    replica = engine.start()
    start = {k: v.clone() for k, v in replica.params.items()}
    moved = []
    for phase in strategy.phases(stream)[:2]:
        data = engine.load(phase)
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
        moved.append(any(not torch.equal(v, start[k]) for k, v in replica.params.items()))
    assert moved == [False, True]


def test_all_weight_on_the_last_task_is_naive_on_it():
    stream = tiny_stream("domain", (9, 12))
    last = stream.with_tasks([stream[1]])
    replayed = final(stream, WeightedReplay((0.0, 1.0)), tiny_model, batch_size=12, epochs=1)
    naive = final(last, "naive", tiny_model, batch_size=12, epochs=1)
    for k, p in naive.items():
        torch.testing.assert_close(p, replayed[k], rtol=1e-9, atol=1e-12)


def memory(tasks, filled):
    n = len(tasks)
    return {
        "x": torch.arange(n).double().view(n, 1), "y": torch.zeros(n).double(), "task": torch.tensor(tasks),
        "filled": torch.tensor(filled),
    }  # fmt: skip


def test_the_shares_of_a_memory_by_hand():
    held = memory([0, 0, 2, 1, 0], [True, True, True, True, False])
    shares = share_out(held, torch.tensor([0.4, 0.0, 0.5, 0.1]))
    np.testing.assert_allclose(shares.diff(prepend=torch.zeros(1)), [0.2, 0.2, 0.5, 0.0, 0.0], atol=1e-7)


def test_tasks_are_drawn_in_proportion_to_their_weight():
    preference = torch.tensor([0.1, 0.3, 0.4, 0.2], dtype=torch.float64)
    held = memory([0, 0, 0, 1, 2, 2], [True] * 6)
    engine = make_engine(regressions(), get("naive"), Settings(line, (0,), Training(1, dtype="float64")))
    zero, three = torch.tensor(0), torch.full((4,), 3)
    # The last sample is padding.
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0]).double()
    x, y = torch.ones(4, 1).double(), torch.zeros(4).double()
    batch = Batch({"x": x, "y": y, "task": three, "weight": weight}, three[0], Rng(zero, zero))
    state = {"memory": held, "preference": preference, "edges": share_out(held, preference)}
    n = 8000
    found = WeightedReplay(batch_size=n).batch(engine.program.net({}), {}, state, batch)
    counts = torch.bincount(found.x[4:, 0].long(), minlength=6) / n
    expected = torch.tensor([0.1 / 3] * 3 + [0.3] + [0.2] * 2) / 0.8
    assert (counts - expected).abs().max().item() < 4 * (0.25 / n) ** 0.5
    # Weights of the tasks in the loss: 0.2 for the three samples at hand, 0.8 for all that is remembered.
    share = found.weight / found.weight.sum()
    assert share[:4].tolist() == pytest.approx([0.2 / 3] * 3 + [0.0])
    assert share[4:].sum().item() == pytest.approx(0.8)
    assert found.weight[:3].sum().item() == pytest.approx(3 * 0.2)


def test_batch_norm_sees_no_empty_memory():
    found = final(tiny_stream("domain", (9, 12)), WeightedReplay((1.0, 0.0)), tiny_norm)
    assert all(p.isfinite().all() for p in found.values())


# ---- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Weighted, WeightedReplay])
@pytest.mark.parametrize(
    ("bad", "message"),
    [((0.5, 0.6), "sum to 1: divide by the sum"), ((1.5, -0.5), "at least 0"), (("a",), "a list of numbers"),
     (0.5, "a list of numbers")],
)  # fmt: skip
def test_a_preference_off_the_simplex_is_refused(kind, bad, message):
    with pytest.raises(PerdureError, match=message):
        kind(bad)


@pytest.mark.parametrize("kind", [Weighted, WeightedReplay])
def test_a_preference_for_another_number_of_tasks_is_refused(kind):
    with pytest.raises(PerdureError, match="one weight for each of the 3 tasks"):
        compare(tiny_stream(), [kind((0.5, 0.5))], model=tiny_model, quiet=True)


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"batch_size": 0}])
def test_counts_are_checked(bad):
    with pytest.raises(PerdureError, match="whole number of at least 1"):
        WeightedReplay(**bad)
