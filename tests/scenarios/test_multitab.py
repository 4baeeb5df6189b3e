"""MultiTab-Bench: what is asked for is what is measured, and what cannot be is refused with the nearest."""

import itertools
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from perdure import compare
from perdure.scenarios import Classification, Regression, Targets, check_stream, get, multitab_bench
from perdure.scenarios.generators import correlations
from perdure.scenarios.generators.correlations import curve, hermite, needed, of_labels, read, variance

module = sys.modules["perdure.scenarios.generators.multitab_bench"]
SMALL = {"samples": 60, "val_samples": 20, "test_samples": 20}
RNG = np.random.default_rng(0)


def labels(stream):
    """Training labels of all tasks, ``[n, tasks]``."""
    return torch.stack([task.train.y for task in stream], 1).double().numpy()


def random_correlation(tasks, rank):
    rows = RNG.normal(size=(tasks, rank))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = rows @ rows.T
    np.fill_diagonal(found, 1.0)
    return (found + found.T) / 2


# ---- closed form --------------------------------------------------------------------------------------


def test_hermite_coefficients_and_variances_by_hand():
    assert [hermite(d) for d in (1, 2, 3, 4)] == [(1,), (1, 1), (4, 1, 1), (4, 7, 1, 1)]
    assert [variance(d) for d in (1, 2, 3, 4)] == [1, 3, 24, 144]


@pytest.mark.parametrize("degree", range(1, 9))
def test_hermite_coefficients_against_numpy(degree):
    power = [0.0] + [1.0] * degree
    np.testing.assert_allclose(hermite(degree), np.polynomial.hermite_e.poly2herme(power)[1:], rtol=1e-12)


@pytest.mark.parametrize(
    ("one", "two", "value"),
    [(1, 1, 0.400), (1, 2, 0.231), (1, 3, 0.327), (1, 4, 0.133), (2, 2, 0.240), (2, 3, 0.226), (2, 4, 0.185),
     (3, 3, 0.296), (3, 4, 0.154), (4, 4, 0.160)],
)  # fmt: skip
def test_correlation_of_labels_as_published(one, two, value):
    assert curve(one, two)(0.4) == pytest.approx(value, abs=5e-3)
    assert curve(two, one)(0.4) == curve(one, two)(0.4)


@pytest.mark.parametrize(("one", "two"), list(itertools.combinations_with_replacement(range(1, 9), 2)))
@pytest.mark.parametrize("share", [-0.9, -0.1, 0.0, 0.3, 0.99])
def test_an_asked_correlation_is_met_by_every_pair_of_degrees(one, two, share):
    heard = np.array([0.9, 0.8])
    end = curve(one, two)(1.0) if share > 0 else -curve(one, two)(correlations.lowest(one, two))
    asked = np.array([[1.0, share * end * 0.72], [share * end * 0.72, 1.0]])
    found = needed(asked.copy(), [one, two], heard)
    np.testing.assert_allclose(of_labels(found, [one, two], heard), asked, atol=1e-8)
    beyond = np.array([[1.0, 1.01 * end * 0.72], [1.01 * end * 0.72, 1.0]])
    assert needed(beyond if share > 0 else -beyond, [one, two], heard) is None


@pytest.mark.parametrize(("tasks", "ask"), [(4, 0.25), (40, 0.05), (256, 0.015)])
def test_an_asked_correlation_is_met_with_all_degrees_together(tasks, ask):
    degrees = [t % 4 + 1 for t in range(tasks)]
    heard = np.full(tasks, 0.95)
    among = module._correlation(None, ask, [tasks], 0.0, degrees, heard)
    np.testing.assert_allclose(of_labels(among, degrees, heard), read("", ask, [tasks], 0).matrix, atol=1e-8)
    assert np.linalg.eigvalsh(among).min() > -1e-9


# ---- weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.4, 0.0, 0.99, 1.0, -1 / 6])
def test_weights_have_the_asked_correlation(p):
    among = read("correlation", p, [7], 0.0).matrix
    weights = module._weights(among, 9, 0)
    np.testing.assert_allclose(weights @ weights.T, among, atol=1e-9)


def test_more_tasks_than_features_where_the_rank_allows_it():
    among = random_correlation(40, 5)
    weights = module._weights(among, 6, 0)
    np.testing.assert_allclose(weights @ weights.T, among, atol=1e-5)
    check_stream(multitab_bench(40, 5, among.tolist(), **SMALL))


def test_groups():
    stream = multitab_bench(5, 8, 0.8, groups=2, between=-0.1, **SMALL)
    found = np.array(stream.info["task_correlation"])
    assert stream.info["groups"] == [2, 3]
    assert found[0, 1] == found[2, 4] == 0.8
    assert found[1, 2] == -0.1
    assert stream.info["groups"] == multitab_bench(5, 8, groups=[2, 3], **SMALL).info["groups"]


# ---- labels -------------------------------------------------------------------------------------------


def test_labels_have_the_correlation_of_the_closed_form():
    stream = multitab_bench(4, 8, 0.4, (1, 2, 3, 4), samples=60_000, val_samples=10, test_samples=10)
    measured = np.corrcoef(labels(stream).T)
    np.testing.assert_allclose(measured, stream.info["label_correlation"], atol=0.02)


def test_labels_are_standardised_on_training_rows():
    stream = multitab_bench(4, 8, samples=500)
    y = labels(stream)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-6)
    assert abs(float(stream[1].test.y.std()) - 1) > 1e-4


def test_a_linear_model_explains_what_the_closed_form_says():
    stream = multitab_bench(4, 4, 0.0, (1, 2, 3, 4), samples=60_000, noise=0.0)
    x, y = stream[0].train.x.double().numpy(), labels(stream)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(1 - left.var(0), [1, 1 / 3, 2 / 3, 1 / 9], atol=0.02)


def test_noise_by_its_ratio_to_the_signal():
    given = {"tasks": 4, "features": 8, "degrees": (1, 2, 3, 4), "samples": 4000, "seed": 1}
    clean, noisy = multitab_bench(noise=0.0, **given), multitab_bench(signal_to_noise=4.0, **given)
    np.testing.assert_allclose(np.square(noisy.info["noise"]), [0.25, 0.75, 6, 36])
    slope = [np.corrcoef(a, b)[0, 1] for a, b in zip(labels(clean).T, labels(noisy).T, strict=True)]
    np.testing.assert_allclose(np.square(slope), 0.8, atol=0.06)


def test_labels_by_hand():
    bench = module._Bench(np.array([[0.6, 0.8], [1.0, 0.0]]), [3, 1], np.zeros(2), 0, 4, 0)
    x, y = bench.draw("train", 5)
    z = x.double().numpy() @ bench.weights.T
    np.testing.assert_allclose(y, np.stack([z[:, 0] + z[:, 0] ** 2 + z[:, 0] ** 3, z[:, 1]], 1))


# ---- forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    ["", "setting=joint", "per_stage=2", "kind=classification", "kind=classification, classes=3, per_stage=4",
     "categorical=3, levels=5", "missing=0.3", "missing=0.3, per_stage=4, kind=classification",
     "degrees=mixed", "degrees=2, label_correlation=0.5", "correlation=1, features=1"],
)  # fmt: skip
def test_contract(spec):
    stream = get(f"multitab-bench(tasks=4, samples=200, val_samples=40, test_samples=40, {spec})")
    check_stream(stream)
    first = stream[0]
    for part in ("train", "val", "test"):
        assert all(getattr(task, part).x is getattr(first, part).x for task in stream)
    assert not (set(map(tuple, first.train.x.tolist())) & set(map(tuple, first.test.x.tolist())))
    assert json.loads(json.dumps(stream.info)) == stream.info
    assert stream.with_tasks(stream.tasks[:1]).info is stream.info


def test_forms():
    assert get("multitab-bench(tasks=4, correlation=0.4)")[0].objective == Regression(by="r2")
    pairs = multitab_bench(4, per_stage=2, **SMALL)
    assert pairs[1].objective == Targets((Regression(by="r2"),) * 2, (1, 1))
    assert pairs.names == ["tasks 1-2", "tasks 3-4"]
    alone = multitab_bench(4, **SMALL)
    assert torch.equal(pairs[1].train.y[:, 0], alone[2].train.y)
    cut = multitab_bench(4, kind="classification", classes=3, samples=300)
    assert cut[1].objective == Classification()
    assert cut[1].outputs == (3, 4, 5)
    assert cut[1].train.y.bincount(minlength=6).tolist() == [0, 0, 0, 100, 100, 100]
    real = multitab_bench(4, samples=300)[1].train.y
    assert (cut[1].train.y == 5).equal(real >= real.sort().values[200])


def test_categories_are_bins_of_the_last_features():
    plain, binned = (multitab_bench(4, 5, categorical=c, levels=3, samples=900) for c in (0, 2))
    x = binned[0].train.x
    assert binned.info["columns"] == {"numeric": 3, "categories": [3, 3]}
    assert torch.equal(x[:, :3], plain[0].train.x[:, :3])
    assert x[:, 3:6].sum(1).eq(1).all()
    np.testing.assert_allclose(x[:, 3:].mean(0), 1 / 3, atol=0.05)
    assert (plain[0].train.x[:, 3] <= -0.4307273).equal(x[:, 3] == 1)
    assert torch.equal(binned[1].train.y, plain[1].train.y)


def test_training_on_missing_labels_is_training_without_their_rows():
    stream = multitab_bench(2, 4, degrees=1, missing=[0.0, 0.5], signal_to_noise=10.0, samples=64)
    there = ~stream[1].train.y.isnan()
    assert 16 < int(there.sum()) < 48
    assert not stream[0].train.y.isnan().any()
    given = {"model": "mlp(hidden=[8])", "seeds": 2, "epochs": 10, "batch_size": 64, "quiet": True}
    short = [stream[0], replace(stream[1], train=stream[1].train.take(there))]
    whole = compare(stream, "single", **given).scores["single"]
    cut = compare(stream.with_tasks(short), "single", **given).scores["single"]
    np.testing.assert_allclose(whole, cut, atol=1e-3)


def test_the_same_everywhere_and_another_with_another_seed():
    given = {"tasks": 4, "features": 8, "samples": 50}
    assert multitab_bench(**given).fingerprint() == "3ba119f4566eb31d"
    assert multitab_bench(**given, seed=1).fingerprint() != multitab_bench(**given).fingerprint()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"correlation": -0.3}, ["at least -1 / (tasks - 1)", "-0.3", "the nearest is -0.1666"]),
        ({"tasks": 40}, ["`features` must be at least 40", "found 32"]),
        ({"correlation": random_correlation(7, 3), "features": 2}, ["at least 3, the rank"]),
        ({"label_correlation": 0.4}, ["`label_correlation`", "0.4", "the nearest is 0.2"]),
        ({"label_correlation": -0.1, "degrees": 2}, ["the nearest is -0.0"]),
        ({"correlation": 0.1, "groups": 2, "between": 0.9}, ["positive semidefinite", "times 0."]),
        ({"correlation": [[1, 0], [0, 1]]}, ["[7, 7]", "found [2, 2]"]),
        ({"tasks": 2, "correlation": [[1, 0.5], [0.4, 1]]}, ["symmetric"]),
        ({"tasks": 2, "correlation": [[2, 0.5], [0.5, 1]]}, ["ones on its diagonal"]),
        ({"correlation": 1.5}, ["`correlation`", "[-1, 1]"]),
        ({"correlation": 0.1, "label_correlation": 0.1}, ["found both"]),
        ({"noise": 0.1, "signal_to_noise": 1.0}, ["found both"]),
        ({"between": 0.1}, ["`groups` must be 2 or more"]),
        ({"groups": [3, 3]}, ["add up to 7"]),
        ({"samples": 1}, ["task 'task 1 (degree 1)'", "labels that vary", "1 equal"]),
        ({"missing": 1.0}, ["'task 1 (degree 1)' must have training labels", "missing"]),
        ({"missing": [0, 0, 0, 0, 0, 0, 1]}, ["'task 7 (degree 3)' must have training labels"]),
        ({"missing": [0.1]}, ["one for each of 7 tasks"]),
        ({"samples": 0}, ["`samples`", "at least 1"]),
        ({"samples": 10**9}, ["`samples`", "at most"]),
        ({"kind": "classification", "classes": 99, "samples": 50}, ["for 99 classes", "50 different"]),
        ({"kind": "classification", "setting": "joint"}, ["would compete"]),
        ({"kind": "classification", "missing": 0.1}, ["`per_stage` must be at least 2"]),
        ({"per_stage": 2}, ["`per_stage` must divide 7"]),
        ({"degrees": []}, ["`degrees`"]),
        ({"degrees": 0}, ["`degrees`", "at least 1"]),
        ({"categorical": 33}, ["`categorical`", "32"]),
        ({"tasks": 257}, ["`tasks`", "256"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, words, refuses):
    with refuses(*words):
        multitab_bench(**given)


@pytest.mark.parametrize("number", [-0.3, -0.9])
def test_the_nearest_that_is_named_can_be(number, refuses):
    with refuses("the nearest is -0.1666"):
        multitab_bench(correlation=number, **SMALL)
    multitab_bench(correlation=-0.1666, **SMALL)


def test_scored_parts_may_not_lack_labels(refuses):
    stream = multitab_bench(2, **SMALL, missing=0.5)
    val = replace(stream[0].val, y=torch.full_like(stream[0].val.y, torch.nan))
    with refuses("validation part", "targets must be finite"):
        check_stream(stream.with_tasks([replace(stream[0], val=val), stream[1]]))
