"""Watching tasks' gradients: cosines by hand, conflicts, bins that are put together, and no effect."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Part, Regression, Stream, Task
from perdure.strategies import Strategy, WatchConflicts, get
from perdure.strategies.contract.composition import Composition
from perdure.strategies.contract.phase import Step
from perdure.strategies.contract.registry import strategy
from perdure.testing import tiny_stream

RUN = {"quiet": True, "dtype": "float64", "batch_size": 2, "pretrained": True, "epochs": 1}


def regression(x, y, name):
    part = Part(torch.tensor([x, x]), torch.tensor([y, y]))
    return Task(name, part, part, part, (0,), Regression())


def line(inputs=2):
    model = nn.Linear(inputs, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def three():
    """Losses (w . x_t - y_t)^2 at w = 0: gradients -2 y x, which are (-2, 0), (-6, -8) and (0, 8)."""
    tasks = [
        regression([1.0, 0.0], 1.0, "a"),
        regression([3.0, 4.0], 1.0, "b"),
        regression([0.0, 2.0], -2.0, "c"),
    ]
    return Stream("three", tuple(tasks), "domain", 1)


def test_one_step_by_hand():
    results = compare(three(), ["weighted + watch-conflicts"], model=line(), seeds=2, **RUN)
    (name,) = results.strategies
    expected = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.8], [0.0, -0.8, 1.0]])
    np.testing.assert_allclose(results.cosines(name), [expected, expected], atol=1e-12)
    # As minimised: a third of each loss, 1/3, 1/3 and 4/3, and a third of each gradient.
    dot = np.array([[4.0, 12.0, 0.0], [12.0, 100.0, -64.0], [0.0, -64.0, 64.0]]) / 9
    np.testing.assert_allclose(results.affinity(name)[0], dot / np.array([1 / 3, 1 / 3, 4 / 3]), atol=1e-12)
    table = results.conflicts()
    assert table["mean"].tolist() == pytest.approx([1 / 3])
    assert table["step"].tolist() == [0.5]


def test_affinity_is_the_share_that_a_small_step_takes_away():
    w, rate = torch.tensor([[0.3, -0.2]], dtype=torch.float64), 1e-6
    model = line()
    with torch.no_grad():
        model.weight.copy_(w)
    results = compare(three(), ["weighted + watch-conflicts"], model=model, seeds=1, **RUN)
    found = results.affinity(results.strategies[0])[0]
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    y = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)

    def losses(w):
        return (x @ w.squeeze(0) - y).square() / 3

    grads = torch.autograd.functional.jacobian(losses, w)
    after = torch.stack([1 - losses(w - rate * g) / losses(w) for g in grads]) / rate
    np.testing.assert_allclose(found, after.numpy(), rtol=1e-4, atol=1e-4)


def watched(strategy, **more):
    kw = {"seeds": 2, "epochs": 2, "quiet": True, "model": "mlp(hidden=[8])", "batch_size": 8, **more}
    return compare(tiny_stream("task", 3), [strategy], **kw)


@pytest.mark.parametrize("base", ["weighted", "halved"])
def test_watching_changes_nothing(base, table):
    @strategy("halved")
    class Halved(Strategy):
        """Makes one gradient of those of the losses."""

        per_loss_gradients = True

        def phases(self, stream):
            return get("weighted").phases(stream)

        def gradient(self, net, params, state, grads, batch):
            return {k: g.sum(0) / 2 for k, g in grads.items()}

    alone, beside = (watched(spec, dtype="float64") for spec in (base, f"{base} + watch-conflicts"))
    one, two = alone.scores[base], beside.scores[f"{base} + watch-conflicts"]
    np.testing.assert_allclose(one, two, atol=1e-9)
    assert beside.cosines(f"{base} + watch-conflicts").shape == (2, 3, 3)


def test_only_one_part_may_combine_gradients(table):
    @strategy("summed")
    class Summed(Strategy):
        """Makes one gradient of those of the losses."""

        per_loss_gradients = True

        def gradient(self, net, params, state, grads, batch):
            return {k: g.sum(0) for k, g in grads.items()}

    with pytest.raises(PerdureError, match="at most one strategy with one gradient per loss"):
        Composition((Summed(), Summed()))
    assert str(Summed() + WatchConflicts()) == "summed + watch-conflicts"


def stepped(watcher, state, count, gradients):
    """Let the watcher see the same gradients ``[tasks, 2]`` a number of times."""
    net = Net(line(), {}, None, Regression())
    params = {"weight": torch.zeros(1, 2)}
    rows = {
        "x": torch.zeros(1, 2),
        "y": torch.zeros(1),
        "task": torch.zeros(1, dtype=torch.int64),
        "weight": torch.ones(1),
    }
    zero = torch.tensor(0)
    batch = Batch(rows, zero, Rng(zero, zero), entries=2, losses=torch.ones(2))
    seen = Step(batch, params, params, None, {"weight": torch.tensor(gradients).view(2, 1, 2)})
    for _ in range(count):
        params, state = watcher.after_step(net, params, state, seen)
    return state


def test_full_bins_are_put_together():
    watcher = WatchConflicts(bins=4)
    pair = Stream("two", three().tasks[:2], "domain", 1)
    state = watcher.init(Net(line(), {}, None, Regression()), {"weight": torch.zeros(1, 2)}, pair)
    state = stepped(watcher, state, 3, [[1.0, 0.0], [-1.0, 1.0]])
    assert watcher.report(state)["conflicts"].tolist() == [1, 1, 1, 0]
    state = stepped(watcher, state, 1, [[1.0, 0.0], [1.0, 1.0]])
    state = stepped(watcher, state, 5, [[1.0, 0.0], [0.0, 0.0]])  # no gradient, no pair
    report = watcher.report(state)
    assert (report["steps"].item(), report["width"].item()) == (9, 4)
    assert report["conflicts"].tolist() == [3, 0, 0, 0]
    assert report["pairs"].tolist() == [4, 0, 0, 0]
    assert report["cosines"][0, 1].item() == pytest.approx(-0.5 / 2**0.5)


def test_the_head_of_each_task_is_left_out():
    results = watched("weighted + watch-conflicts", keep=True)
    trained = results.trained["weighted + watch-conflicts"]
    assert set(trained.state("watch-conflicts")) >= {"cosines", "conflicts", "pairs", "steps"}
    with pytest.raises(PerdureError, match="parameters that all tasks share; found none"):
        watched("weighted + watch-conflicts", model=lambda: nn.Linear(5, 6))


def test_the_choice_of_tune_keeps_its_own_report():
    results = watched("weighted + watch-conflicts", tune={"lr": [1e-6, 0.3]})
    (name,) = results.strategies
    best = watched("weighted + watch-conflicts", lr=results.extras[name]["chosen"]["lr"])
    np.testing.assert_allclose(results.cosines(name), best.cosines(name), atol=1e-5)


@pytest.mark.parametrize("spec", ["watch-conflicts", "naive + watch-conflicts", "joint + watch-conflicts"])
def test_without_a_loss_of_each_task_it_is_refused(spec):
    with pytest.raises(PerdureError, match="losses of two or more tasks at each step") as caught:
        watched(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("bins", "says"), [(3, "an even number; found 3"), (0, "bins must be")])
def test_bins_are_even(bins, says):
    with pytest.raises(PerdureError, match=says):
        WatchConflicts(bins)


def test_it_keeps_the_contract():
    check_strategy(get("weighted + watch-conflicts(bins=4)"), level="quick")
