"""Objectives of several kinds side by side, and scores by name."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.scenarios.contract.doubts import doubts
from perdure.scenarios.contract.objective import Classification, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.scores import SCORES
from perdure.scenarios.contract.several import Targets, score_task
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task

ZERO = torch.zeros((), dtype=torch.int64)


def batch(y, weight=None, task=0):
    weight = torch.ones(y.shape) if weight is None else weight
    rows = {"x": torch.zeros(len(y), 1), "y": y, "task": torch.full((len(y),), task), "weight": weight}
    return Batch(rows, ZERO, Rng(ZERO, ZERO))


@pytest.mark.parametrize(
    ("objective", "theirs", "near"),
    [
        (Classification(), lambda y, o: metrics.accuracy_score(y, o.argmax(1)), 1e-6),
        (
            Classification(by="balanced-accuracy"),
            lambda y, o: metrics.balanced_accuracy_score(y, o.argmax(1)),
            1e-6,
        ),
        (Classification(by="f1"), lambda y, o: metrics.f1_score(y, o.argmax(1), average="macro"), 1e-6),
        (Classification(by="auroc"), lambda y, o: metrics.roc_auc_score(y, o[:, 1] - o[:, 0]), 2e-3),
        (Regression(), lambda y, o: -metrics.mean_squared_error(y, o[:, 0]), 1e-6),
        (Regression(by="r2"), lambda y, o: metrics.r2_score(y, o[:, 0]), 1e-6),
        (Regression(by="rmse"), lambda y, o: metrics.root_mean_squared_error(y, o[:, 0]), 1e-6),
        (Regression(by="mae"), lambda y, o: metrics.mean_absolute_error(y, o[:, 0]), 1e-6),
    ],
    ids=lambda value: repr(value) if isinstance(value, Classification | Regression) else "",
)
def test_scores_by_name_are_those_of_scikit_learn(objective, theirs, near):
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(400, 1 if objective.real else 2))
    y = outputs[:, 0] + 3 + generator.normal(size=400) if objective.real else generator.integers(0, 2, 400)
    outputs[:, -1] += 0 if objective.real else y
    found = score_task(
        objective,
        0,
        torch.tensor(outputs).float(),
        batch(torch.tensor(y).to(torch.float32 if objective.real else torch.int64)),
    )
    assert float(found) == pytest.approx(theirs(y, outputs), abs=near)


def test_a_score_that_is_of_another_kind_is_refused():
    with pytest.raises(PerdureError, match=r"Regression can be scored by mae, .*; found 'f1'"):
        Regression(by="f1")
    with pytest.raises(PerdureError, match="unknown score 'acuracy'"):
        Classification(by="acuracy")
    assert {SCORES.get(name).real for name in SCORES} == {True, False}


def test_labels_side_by_side_by_hand():
    objective = Targets((Regression(), Classification()), (1, 2))
    outputs = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 2.0], [3.0, 1.0, 0.0]])
    y = torch.tensor([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    weight = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    given = batch(y, weight)
    losses = objective.loss(outputs, given)
    assert losses[:, 0].tolist() == [1, 4, 4]
    assert losses[0, 1] == pytest.approx(np.log(2))
    # The second regression label and the third class are missing: means over what is there.
    sums = objective.score(outputs, given).sum(0)
    assert objective.by_target(sums).tolist() == pytest.approx([-2.5, 0.5])
    assert float(score_task(objective, 0, outputs, given)) == pytest.approx(-1.0)


def three_targets(n=300, missing=0.3):
    """Two regressions and a class of the same features, some labels missing."""
    generator = torch.Generator().manual_seed(0)

    def part(n, missing):
        x = torch.randn(n, 6, generator=generator)
        a = x[:, 0] + x[:, 1]
        y = torch.stack([a, 0.5 * a - x[:, 2], (a + x[:, 3] > 0).float()], 1)
        y[torch.rand(n, 3, generator=generator) < missing] = torch.nan
        return Part(x, y)

    objective = Targets((Regression(by="r2"), Regression(by="r2"), Classification()), (1, 1, 2))
    tasks = [
        Task(name, part(n, missing), part(60, missing), part(200, 0.0), (0, 1, 2, 3), objective)
        for name in "ab"
    ]
    return Stream("targets", tuple(tasks), "domain", 4)


@pytest.mark.parametrize("name", ["naive", "replay(50)", "ewc", "der(50)", "joint", "gem", "gdumb(50)"])
def test_three_targets_with_missing_labels_are_learned(name):
    results = compare(
        three_targets(), [name], model="mlp(hidden=[32])", seeds=2, epochs=12, lr=0.05, quiet=True
    )
    scores = next(iter(results.scores.values()))
    assert results.extras[results.strategies[0]]["mapped"], results.warnings
    assert float(scores[:, -1].mean()) > 0.6  # of R2, R2 and accuracy
    assert results.config["metric"] == "R2 and accuracy"


def test_a_missing_label_teaches_nothing():
    stream = three_targets()
    filled = stream.map_train(lambda i, p: Part(p.x, torch.where(p.y.isnan(), torch.nan, p.y)), "same")
    one, two = (
        compare(s, ["naive"], model="mlp(hidden=[8])", seeds=1, epochs=1, quiet=True)
        for s in (stream, filled)
    )
    assert np.array_equal(one.scores["naive"], two.scores["naive"])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", ["naive", "joint", "ewc", "replay(60)"])
def test_two_objectives_in_one_stream(name, turned):
    generator = torch.Generator().manual_seed(0)

    def part(n, real):
        x = torch.randn(n, 4, generator=generator)
        return Part(x, x[:, 0] * 2 + 1 if real else (x[:, 1] > 0).long())

    def task(real):
        objective, outputs = (Regression(by="r2"), (2,)) if real else (Classification(), (0, 1))
        return Task(
            "real" if real else "classes",
            part(200, real),
            part(40, real),
            part(100, real),
            outputs,
            objective,
        )

    kinds = (True, False) if turned else (False, True)
    stream = Stream("mixed", tuple(task(real) for real in kinds), "task", 3)
    assert doubts(stream)[0].startswith("tasks are scored by")
    results = compare(stream, [name], model="mlp(hidden=[32])", seeds=2, epochs=15, lr=0.05, quiet=True)
    scores = next(iter(results.scores.values()))
    assert results.extras[results.strategies[0]]["mapped"], results.warnings
    assert float(scores[:, -1, -1].min()) > 0.8
    if name == "joint":
        assert float(scores[:, -1].min()) > 0.8


def test_heads_of_classes_and_numbers_do_not_compete():
    # In the domain setting all outputs are open: a class must not lose to a task's real number.
    x = torch.zeros(8, 2)
    classes = Task("c", *[Part(x, torch.arange(8) % 2)] * 3, (0, 1), Classification())
    numbers = Task("r", *[Part(x, torch.ones(8))] * 3, (2,), Regression())
    stream = Stream("both", (classes, numbers), "domain", 3)
    outputs = torch.tensor([[0.0, 1.0, 50.0]])
    assert float(score_task(stream.objective, 0, outputs, batch(torch.tensor([1.0])))) == 1
    assert float(score_task(stream.objective, 1, outputs, batch(torch.tensor([50.0]), task=1))) == 0
    assert float(stream.objective.loss(outputs, batch(torch.tensor([1.0])))) == pytest.approx(
        np.log1p(np.exp(-1))
    )
