"""Robust multi-task gradient boosting."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor

from perdure import PerdureError, compare
from perdure.analysis import outlier_auroc
from perdure.engine.external import together
from perdure.scenarios.contract.objective import Classification, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators.r_mtgb import r_mtgb
from perdure.strategies import RMTGB, Terms, get
from perdure.strategies.trees.ensemble import Ensemble
from perdure.testing import tiny_stream


def stream_of(*tasks, objective=None, wide=1):
    """Make tasks of pairs of inputs and labels, each with ``wide`` outputs of its own."""
    made = []
    for t, (x, y) in enumerate(tasks):
        x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
        part = Part(x.view(len(y), -1), y)
        outputs = tuple(range(t * wide, (t + 1) * wide))
        made.append(Task(f"task {t}", part, part, part, outputs, objective or Regression()))
    return Stream("own", tuple(made), "task", wide * len(made))


def begin(strategy, stream, seed=0):
    strategy.check(stream)
    terms = Terms(torch.nn.Identity(), seed, 1, 1, lambda p: None, torch.device("cpu"))
    return strategy.start(stream, terms)


def fit(strategy, stream, seed=0):
    learner = begin(strategy, stream, seed)
    learner.learn(together(stream, strategy.phases(stream)[0]), len(stream) - 1)
    return learner


@pytest.mark.parametrize("rounds", [{"meta": 0, "task": 20}, {"meta": 20, "task": 0}])
def test_of_one_task_it_is_gradient_boosting(rounds):
    x, y = torch.randn(80, 3, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(-1, 2, 80)
    y = (x[:, 0].sin() + x[:, 1] * x[:, 2]).float() + 3 + 0 * y
    learner = fit(RMTGB(outlier=0, max_depth=2, learning_rate=0.3, **rounds), stream_of((x, y)))
    theirs = GradientBoostingRegressor(n_estimators=20, max_depth=2, learning_rate=0.3, random_state=0)
    expected = theirs.fit(x.float().numpy(), y.double().numpy()).predict(x.float().numpy())
    assert np.abs(learner.predict(x.float(), 0).squeeze(1).numpy() - expected).max() < 1e-5


def test_a_round_by_hand():
    # The mean is 1.5; the best of three cuts is in the middle, with the mean residuals -1.5 and 1.5.
    stream = stream_of(([0, 1, 2, 3], [0.0, 0.0, 2.0, 4.0]))
    at = stream[0].train.x
    rules = {"max_depth": 1, "learning_rate": 0.5, "theta_spread": 0.0}
    pooled = fit(RMTGB(meta=1, outlier=0, task=0, **rules), stream)
    assert pooled.predict(at, 0).flatten().tolist() == [0.75, 0.75, 2.25, 2.25]
    # Both trees have half of the residuals to learn, and half a say.
    halves = fit(RMTGB(meta=0, outlier=1, task=0, **rules), stream)
    assert halves.predict(at, 0).flatten().tolist() == [1.125, 1.125, 1.875, 1.875]
    # A constant; a feature, a threshold and two leaves of each of two trees; one theta.
    assert halves.count_parameters() == 1 + 2 * 4 + 1


def test_a_step_of_theta_by_hand():
    stream = stream_of(([0, 0], [1.0, 1.0]), ([1, 1], [-1.0, -1.0]))
    strategy = RMTGB(meta=0, outlier=1, task=0, max_depth=1, learning_rate=1.0, theta_rate=2.0)
    learner = begin(strategy, stream)
    learner.theta = np.array([-math.log(3), 0.0])  # s = 1/4 and 1/2
    learner.learn(together(stream, strategy.phases(stream)[0]), 1)
    # F_non = (.75, -.5), F_out = (.25, -.5), F = (.625, -.5): residuals (.375, -.5), F_out - F_non (-.5, 0).
    assert learner.theta == pytest.approx([-math.log(3) - 2 * 3 / 16 * 0.375 * 0.5 / 0.5, 0.0])
    s = 1 / (1 + math.exp(-learner.theta[0]))
    assert learner.predict(torch.zeros(1, 1), 0)[0, 0].item() == pytest.approx(0.75 * (1 - s) + 0.25 * s)


def test_classes_by_hand():
    # Three of class 0 and one of class 1: shares 4/6 and 2/6, from which a leaf moves by the mean residual.
    stream = stream_of(([0, 1, 2, 3], [0, 0, 0, 1]), objective=Classification(), wide=2)
    learner = fit(RMTGB(meta=0, outlier=0, task=1, max_depth=1, learning_rate=1.0), stream)
    first = math.log(4 / 6) + 1 / 3, math.log(2 / 6) - 1 / 3
    last = math.log(4 / 6) - 2 / 3, math.log(2 / 6) + 2 / 3
    expected = torch.tensor([first, first, first, last])
    assert torch.allclose(learner.predict(stream[0].train.x, 0), expected)


def test_labels_that_are_missing_count_in_no_tree():
    x, y = torch.arange(12.0), torch.arange(12.0).sin()
    gone = y.clone()
    gone[[1, 5, 11]] = torch.nan
    left = ~gone.isnan()
    strategy = RMTGB(3, 3, 3)
    one, other = (fit(strategy, stream_of(pair, (x, x), (x, -x))) for pair in [(x, gone), (x[left], y[left])])
    assert one.theta == pytest.approx(other.theta)
    for t in range(3):
        found = one.predict(x.view(-1, 1), t)
        assert found.isfinite().all()
        assert torch.allclose(found, other.predict(x.view(-1, 1), t), atol=1e-6)


def test_a_leaf_is_the_mean_of_the_labels_that_are_there():
    values, there = np.array([[1.0, 0.0], [3.0, 6.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    ensemble, x = Ensemble(2, 1, 0.5), np.zeros((2, 1), np.float32)
    assert ensemble.grow(x, values, there, 0).tolist() == [[1.0, 3.0]] * 2
    assert ensemble.grow(x[:0], values[:0], there[:0], 0).shape == (0, 2)


def test_several_labels_of_a_sample_are_learned_side_by_side():
    x = torch.linspace(-1, 1, 20)
    y = torch.stack([x.square(), (x > 0).float(), x], 1)
    y[3, 0] = y[4, 1] = torch.nan
    objective = Targets((Regression(), Classification(), Regression()), (1, 2, 1))
    stream = stream_of((x, y), objective=objective, wide=4)
    found = fit(RMTGB(30, 0, 0), stream).predict(x.view(-1, 1), 0)
    assert (found[:, 0] - x.square()).abs().max() < 0.15
    assert ((found[:, 2] > found[:, 1]) == (x > 0)).all()
    assert (found[:, 3] - x).abs().max() < 0.15


def test_theta_finds_two_outliers_and_results_keep_it():
    stream = r_mtgb(tasks=8, samples=200, test_samples=50)
    strategies = {"robust": "r-mtgb(10, 60, 0)", "pooled": "r-mtgb(70, 0, 0)"}
    results = compare(stream, strategies, seeds=2, quiet=True)
    found = np.array(results.extras["robust"]["report"]["r-mtgb"]["outlier"])
    assert found.shape == (2, 8)
    assert found[:, :6].max() < 0.1
    assert found[:, 6:].min() > 0.9
    assert outlier_auroc(results, "robust").tolist() == [1.0, 1.0]
    # Tasks with a function in common are the better for it that the others are found.
    robust, pooled = (results.scores[name][:, 0, :6].mean() for name in strategies)
    assert robust > pooled
    assert "report" not in results.extras["pooled"]
    with pytest.raises(PerdureError, match="expected 'pooled' to report `outlier` for each task"):
        outlier_auroc(results, "pooled")
    with pytest.raises(PerdureError, match="names outliers among 8 tasks; found 0"):
        outlier_auroc(replace(results, config={**results.config, "info": {}}), "robust")


def test_a_seed_decides_all():
    stream = tiny_stream("task")
    inputs = stream[0].test.x
    once = fit(RMTGB(2, 5, 2), stream, 1).predict(inputs, 0)
    np.random.seed(5)  # noqa: NPY002 (what must not matter)
    assert torch.equal(fit(RMTGB(2, 5, 2), stream, 1).predict(inputs, 0), once)
    assert not torch.equal(fit(RMTGB(2, 5, 2), stream, 2).predict(inputs, 0), once)


def mixed_stream():
    first, second = tiny_stream("task", 1, kind="real"), tiny_stream("task", 1)
    y = second[0].train.y + 1
    other = replace(second[0], name="other", outputs=(1, 2), train=replace(second[0].train, y=y))
    return Stream("mixed", (first[0], other), "task", 3)


@pytest.mark.parametrize(
    ("make", "stream", "line"),
    [
        ("r-mtgb(0, 0, 0)", tiny_stream("task"), "needs rounds in meta, outlier or task"),
        ("r-mtgb(meta=-1)", tiny_stream("task"), "meta must be a whole number of at least 0; found -1"),
        ("r-mtgb(max_depth=0)", tiny_stream("task"), "max_depth must be a whole number of at least 1"),
        ("r-mtgb(learning_rate=0)", tiny_stream("task"), r"learning_rate must lie in \(0, 1\]"),
        ("r-mtgb", tiny_stream("domain"), "with setting='task'; found setting='domain'"),
        (
            "r-mtgb",
            tiny_stream("task", kind="tokens"),
            "reads real numbers; found token ids in task 'task 0'",
        ),
        ("r-mtgb", mixed_stream(), "found 2 classes and a real number"),
    ],
)
def test_what_it_cannot_do_is_refused(make, stream, line):
    with pytest.raises(PerdureError, match=line):
        get(make).check(stream)


def test_tasks_alone_may_differ_in_kind():
    stream = mixed_stream()
    learner = fit(RMTGB(meta=0, outlier=0, task=2), stream)
    assert [learner.predict(stream[t].train.x, t).any(0).tolist() for t in (0, 1)] == [
        [True, False, False],
        [False, True, True],
    ]
