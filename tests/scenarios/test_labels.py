"""Labels of every kind: several for each sample, missing ones, names, objectives by name and by task."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from perdure import compare
from perdure.core.batch import CLOSED, Batch
from perdure.core.random import Rng
from perdure.scenarios import Classification, Regression, Source, check_stream, from_arrays, split
from perdure.scenarios.contract.several import Targets, totals
from perdure.scenarios.labels import MOST_CLASSES

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2
NAMES = np.array(["cat", "ant"])[Y]
NAN = float("nan")


def several(n, seed, missing=0.3):
    """Two regressions and a class, all functions of the inputs, some labels missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    a = x[:, 0] + x[:, 1]
    y = np.stack([a, 0.5 * a - x[:, 2], (a + x[:, 3] > 0).astype(float)], 1)
    y[rng.random(y.shape) < missing] = NAN
    return x, y


# ---- several labels for each sample -------------------------------------------------------------------


def test_columns_say_what_they_are():
    stream = from_arrays([(several(200, 0), several(60, 1))])
    assert stream[0].objective == Targets((Regression(), Regression(), Classification()), (1, 1, 2))
    assert stream.outputs == 4
    assert stream[0].train.y.dtype == torch.float32
    assert stream.missing
    assert any("labels of target 2" in note and "classes" in note for note in stream.notes)
    check_stream(stream)


@pytest.mark.parametrize(
    ("setting", "own"), [("domain", [(0, 1, 2, 3)] * 2), ("joint", [(0, 1, 2, 3)] * 2),
                         ("task", [(0, 1, 2, 3), (4, 5, 6, 7)])],
)  # fmt: skip
def test_outputs_of_several_labels(setting, own):
    stream = from_arrays([(several(90, 0), several(30, 1)), (several(90, 2), several(30, 3))], setting)
    assert [task.outputs for task in stream] == own
    check_stream(stream)


def test_an_objective_for_each_target_and_for_each_task():
    pair = several(90, 0), several(30, 1)
    each = ["regression(r2)", Regression(by="mae"), "regression"]
    expected = Targets((Regression(by="r2"), Regression(by="mae"), Regression()), (1, 1, 1))
    for objective in (each, [each], expected, [expected]):
        stream = from_arrays([pair], objective=objective)
        assert stream[0].objective == expected
        assert not stream.notes
    both = from_arrays([pair, pair], "task", objective=[each, [None, None, "classification(f1)"]])
    assert both[1].objective.each[2] == Classification(by="f1")
    assert [task.outputs for task in both] == [(0, 1, 2), (3, 4, 5, 6)]
    check_stream(both)


def test_a_table_of_numbers_and_names():
    y = pd.DataFrame({"size": X[:, 0], "kind": NAMES, "count": Y})
    y.loc[3, "kind"] = None
    y.loc[4, "size"] = np.nan
    stream = from_arrays([((X, y), (X + 9, y))])
    assert stream[0].objective == Targets((Regression(), Classification(), Classification()), (1, 2, 2))
    rows = {tuple(row) for row in stream[0].test.y.nan_to_num(-1)[:5].tolist()}
    assert {row[1:] for row in rows} == {(1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)}
    assert not stream.notes
    check_stream(stream)


def test_one_column_is_one_label():
    assert from_arrays([(X, X[:, :1])]).fingerprint() == from_arrays([(X, X[:, 0])]).fingerprint()


def test_three_targets_with_missing_labels_are_learned():
    tasks = [(several(300, i), several(200, 9 + i, missing=0.2)) for i in range(2)]
    score = ["regression(r2)", "regression(r2)", "classification"]
    stream = from_arrays(tasks, objective=score)
    found = compare(
        stream, ["naive", "replay(50)", "ewc(0.1)"], model="mlp(hidden=16)", seeds=2, epochs=8, lr=0.05,
        quiet=True,
    )  # fmt: skip
    for name, scores in found.scores.items():
        assert scores[:, -1].min() > 0.75, name


# ---- loss and score by hand ---------------------------------------------------------------------------


def batch_of(y):
    there = ~y.isnan()
    rows = {"x": torch.zeros(len(y), 1), "y": y.nan_to_num(), "weight": there.float()}
    zero = torch.zeros(len(y), dtype=torch.int64)
    return Batch({**rows, "task": zero}, zero[0], Rng(zero[0], zero[0]))


def test_loss_and_score_with_missing_labels():
    objective = Targets((Regression(by="mae"), Classification()), (1, 2))
    y = torch.tensor([[1.0, 1.0], [NAN, 0.0], [3.0, NAN], [5.0, 1.0]])
    output = torch.tensor([[2.0, 0.0, 0.0], [9.0, 5.0, 1.0], [3.0, 0.0, 9.0], [2.0, 4.0, 1.0]])
    batch = batch_of(y)
    losses = objective.loss(output, batch) * batch.weight
    e = torch.tensor([torch.log(torch.tensor(2.0)), np.log1p(np.exp(-4)), 0.0, 3 + np.log1p(np.exp(-3))])
    torch.testing.assert_close(losses[:, 0], torch.tensor([1.0, 0.0, 0.0, 9.0]))
    torch.testing.assert_close(losses[:, 1], e.float())
    sums = objective.score(output, batch).double().sum(0)
    # Absolute errors 1, 0 and 3 of three labels; of the three classes, the second alone is recognised (the
    # first is a tie, which goes to class 0).
    expected = torch.tensor([4 / 3, 1 / 3], dtype=torch.float64)
    torch.testing.assert_close(objective.by_target(sums), expected)
    assert float(objective.total(sums, torch.tensor(4))) == pytest.approx(5 / 6)


def score_of(by, output, y):
    objective = (Regression if by in ("r2", "rmse", "mae") else Classification)(by=by)
    sums = objective.score(output, batch_of(y) if objective.real else batch_of(y.float()).with_rows(y=y))
    sums = (sums.unsqueeze(-1) if sums.ndim == 1 else sums).double().sum(0)
    return float(totals(objective, sums, torch.tensor(len(y))))


@pytest.mark.parametrize("shift", [0, 100_000])
@pytest.mark.parametrize(
    ("by", "reference"),
    [
        ("r2", metrics.r2_score),
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
    ],
)
def test_scores_of_regressions_are_those_of_scikit_learn(by, reference, shift):
    g = torch.Generator().manual_seed(1)
    y = torch.randn(300, generator=g) * 3 + shift
    output = y.unsqueeze(1) + torch.randn(300, 1, generator=g)
    assert score_of(by, output, y) == pytest.approx(reference(y.numpy(), output[:, 0].numpy()), rel=1e-4)
    # As one of several targets, the labels of the others missing here and there.
    objective = Targets((Regression(by=by), Regression()), (1, 1))
    hole = torch.rand(300, generator=g) < 0.3
    both = torch.stack([torch.where(hole, NAN, y), y], 1)
    sums = objective.score(output.repeat(1, 2), batch_of(both)).double().sum(0)
    kept = (~hole).numpy()
    expected = reference(y.numpy()[kept], output[:, 0].numpy()[kept])
    assert float(objective.by_target(sums)[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classifications_are_those_of_scikit_learn(classes):
    g = torch.Generator().manual_seed(2)
    y = torch.randint(classes, (400,), generator=g)
    output = torch.randn(400, classes, generator=g) + torch.nn.functional.one_hot(y, classes)
    said = output.argmax(1)
    assert score_of("f1", output, y) == pytest.approx(metrics.f1_score(y, said, average="macro"), abs=1e-6)
    balanced = metrics.balanced_accuracy_score(y, said)
    assert score_of("balanced-accuracy", output, y) == pytest.approx(balanced, abs=1e-6)
    if classes == 2:
        expected = metrics.roc_auc_score(y, output.softmax(1)[:, 1])
        assert score_of("auroc", output, y) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("places", [(0, 1), (2, 3), (1, 3)])
def test_the_two_classes_of_an_auroc_are_those_that_compete(places):
    g = torch.Generator().manual_seed(3)
    y = torch.randint(2, (300,), generator=g)
    two = torch.randn(300, 2, generator=g) + torch.nn.functional.one_hot(y, 2)
    output = torch.full((300, 5), CLOSED)
    output[:, list(places)] = two
    assert score_of("auroc", output, torch.tensor(places)[y]) == score_of("auroc", two, y)


def test_an_auroc_needs_two_classes_that_compete(refuses):
    tasks = [(X, Y), (X + 1, Y)]
    check_stream(from_arrays(tasks, "task", objective="classification(auroc)"))
    check_stream(from_arrays(tasks, objective="classification(auroc)"))
    with refuses("AUROC", "two classes", "found 4"):
        check_stream(from_arrays([(X, Y), (X, Y + 2)], "class", objective="classification(auroc)"))


# ---- objectives of different tasks --------------------------------------------------------------------


def kinds(order, n=200, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for real in order:
        x = [rng.normal(size=(m, 4)) for m in (n, n // 2)]
        parts.append(tuple((a, a[:, 0] * 0.7 + 1 if real else (a[:, 0] > 0).astype(int)) for a in x))
    return parts


@pytest.mark.parametrize("order", [(False, True), (True, False)])
@pytest.mark.parametrize("setting", ["task", "domain", "joint"])
def test_two_objectives_in_one_stream_are_learned(order, setting):
    stream = from_arrays(kinds(order), setting, objective=["regression(r2)" if r else None for r in order])
    assert [task.outputs for task in stream] == [(2,) if real else (0, 1) for real in order]
    check_stream(stream)
    names = ["naive", "joint", "ewc(0.1)"] if setting == "task" else ["joint"]
    found = compare(stream, names, model="mlp(hidden=8)", seeds=2, epochs=10, lr=0.1, quiet=True)
    for name in found.scores:
        assert found.scores[name][:, -1, 1].min() > 0.8, name
    assert found.scores["joint"][:, -1].min() > 0.8


def test_outputs_behind_those_of_the_classes():
    three = [*kinds((True, False)), *kinds((False, True), seed=1)]
    own = {
        setting: [task.outputs for task in from_arrays(three, setting)]
        for setting in ("task", "domain", "joint")
    }
    assert own["task"] == [(4,), (0, 1), (2, 3), (5,)]
    assert own["domain"] == own["joint"] == [(2,), (0, 1), (0, 1), (2,)]


# ---- numbers that may be classes, and names -----------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "expected", "word"),
    [
        (Y.astype(float), Classification(), "taken as classes"),
        (np.arange(40.0), Regression(), "40 different ones"),
        (Y * 2.0 - 1, Regression(), "some negative"),
        (X[:, 0], Regression(), None),
        (Y, Classification(), None),
    ],
)
def test_whole_numbers_stored_as_floats(y, expected, word):
    stream = from_arrays([(X, y)])
    assert stream[0].objective == expected
    assert [word in note for note in stream.notes] == ([] if word is None else [True])
    check_stream(stream)


def test_as_many_values_as_classes_may_have():
    for more in (0, 1):
        y = np.repeat(np.arange(MOST_CLASSES + more), 5).astype(float)
        stream = from_arrays([(np.random.default_rng(0).normal(size=(len(y), 2)), y)])
        assert stream[0].objective == (Regression() if more else Classification())


def test_what_the_user_says_stands():
    stream = from_arrays([(X, Y)], objective="regression(r2)")
    assert stream[0].objective == Regression(by="r2")
    assert stream[0].train.y.dtype == torch.float32
    assert from_arrays([(X, Y.astype(float))], objective="classification").fingerprint() == (
        from_arrays([(X, Y)]).fingerprint()
    )
    assert not from_arrays([(X, Y.astype(float))], objective=Classification()).notes


def test_whole_in_one_task_only_is_noted():
    stream = from_arrays([(X, Y.astype(float)), (X, X[:, 0])])
    assert [task.objective for task in stream] == [Regression()] * 2
    assert any("in some tasks and not in others" in note for note in stream.notes)


@pytest.mark.parametrize(
    "names", [NAMES, NAMES.tolist(), pd.Series(NAMES), pd.Series(NAMES).astype("category")]
)
def test_names_are_classes_in_their_order(names):
    stream = from_arrays([(X, names), (X + 1, names)])
    # "ant" comes before "cat", which is what 0 stands for in Y.
    assert stream.fingerprint() == from_arrays([(X, 1 - Y), (X + 1, 1 - Y)]).fingerprint()


def test_names_are_numbered_through_the_whole_stream():
    stream = from_arrays([(X, NAMES), (X, np.array(["bee", "dog"])[Y])], "class")
    assert [task.outputs for task in stream] == [(0, 2), (1, 3)]


def test_names_in_a_source():
    source = Source.build("mine", X, NAMES)
    assert source.class_names == ("ant", "cat")
    assert torch.equal(source.y, Source.build("mine", X, 1 - Y).y)
    named = Source.build("mine", X, NAMES, X + 9, NAMES, class_names=["cat", "ant", "dog"])
    assert (named.classes, sorted(set(named.y.tolist()))) == (3, [0, 1])
    assert split((X, NAMES), 1).names == ["ant", "cat"]


def test_names_that_a_source_does_not_have(refuses):
    with refuses("source 'mine'", "'cat'", "ant, dog"):
        Source.build("mine", X, NAMES, class_names=["ant", "dog"])
    with refuses("source 'mine', test", "'dog'"):
        Source.build("mine", X, NAMES, X, ["dog"] * 40)


def test_whole_numbers_stored_as_floats_are_classes_of_a_source(refuses):
    assert torch.equal(Source.build("mine", X, Y.astype(float)).y, Source.build("mine", X, Y).y)
    with refuses("whole numbers", "0.5"):
        Source.build("mine", X, Y + 0.5)
