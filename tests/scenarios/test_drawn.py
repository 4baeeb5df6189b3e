"""Streams that are drawn: random functions, aligned covariances, two linear maps; and targets of a table."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from perdure import compare
from perdure.scenarios import (
    adult_two_targets,
    check_stream,
    covariance_alignment,
    critical_periods,
    get,
    r_mtgb,
    table_targets,
)
from perdure.scenarios.generators.r_mtgb import _Function
from tests.scenarios.test_tables import write_adult

TINY = "samples=30, val_samples=10, test_samples=20"


@pytest.mark.parametrize(
    "spec",
    [f"r-mtgb(tasks=3, {TINY})", f"r-mtgb(pooled, tasks=2, kind=classification, {TINY})",
     f"r-mtgb(single, tasks=2, setting=domain, {TINY})",
     f"r-mtgb(multi-task, tasks=2, setting=joint, {TINY})",
     "covariance-alignment", "covariance-alignment(same, tasks=3)",
     "covariance-alignment(scaled, setting=joint)",
     "critical-periods", "critical-periods(ranks=[2, 15], samples=[50, 80])"],
)  # fmt: skip
def test_contract(spec):
    stream = get(spec)
    check_stream(stream)
    assert stream.info["tasks"] == stream.names
    assert json.loads(json.dumps(stream.info)) == stream.info
    assert stream.fingerprint() == get(spec).fingerprint()


@pytest.mark.parametrize(
    ("spec", "fingerprint"),
    [("r-mtgb(tasks=3, samples=20, test_samples=20)", "d846b3c815810f2c"),
     ("covariance-alignment(samples=50)", "a8c2419dd9f964e1"),
     ("critical-periods(samples=50)", "195817945ed460e6")],
)  # fmt: skip
def test_the_same_everywhere(spec, fingerprint):
    assert get(spec).fingerprint() == fingerprint


# ---- random functions ---------------------------------------------------------------------------------


def test_a_random_function_by_hand():
    drawn = _Function.draw(0, 2, "x")
    x = np.array([[0.3, -0.2], [1.0, 0.0], [0.0, 0.0]])
    expected = (np.cos(x @ drawn.frequencies + drawn.shifts) * drawn.heights).sum(1)
    np.testing.assert_allclose(drawn(x), expected, atol=1e-11)
    values = [_Function.draw(0, 5, "y", i)(np.zeros((1, 5)))[0] for i in range(40)]
    assert 0.6 < np.std(values) < 1.4


def test_regimes():
    given = {"tasks": 3, "outliers": 1, "samples": 40, "val_samples": 10, "test_samples": 10}
    made = {name: r_mtgb(name, **given) for name in ("pooled", "single", "multi-task", "outliers")}
    pairs = {name: stream[0].train for name, stream in made.items()}
    assert all(torch.equal(part.x, pairs["pooled"].x) for part in pairs.values())
    # Up to one scale and shift for all tasks, "multi-task" is .9 of the shared function and .1 of its own.
    y = {name: torch.cat([task.train.y for task in stream]).double().numpy() for name, stream in made.items()}
    basis = np.stack([y["pooled"], y["single"], np.ones(120)], 1)
    shares, left, _, _ = np.linalg.lstsq(basis, y["multi-task"], rcond=None)
    assert left[0] < 1e-6
    assert 5 < shares[0] / shares[1] < 16
    outlier, same = slice(80, None), slice(0, 80)
    assert np.corrcoef(y["outliers"][outlier], y["single"][outlier])[0, 1] > 1 - 1e-6
    assert np.corrcoef(y["outliers"][same], y["multi-task"][same])[0, 1] > 1 - 1e-6
    assert made["outliers"].info["outliers"] == ["task 3 (outlier)"]
    assert made["multi-task"].info["outliers"] == []


def test_classes_are_cut_at_the_median_of_all_tasks():
    stream = r_mtgb(tasks=2, kind="classification", samples=50, val_samples=5, test_samples=5)
    assert [task.outputs for task in stream] == [(0, 1), (2, 3)]
    assert sum(int((task.train.y % 2).sum()) for task in stream) == 50


# ---- covariances --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", ["same", "rotated", "scaled"])
def test_covariances(alignment):
    stream = covariance_alignment(alignment, features=6, samples=40_000, target_samples=40_000, noise=0.0)
    one, two = (np.cov(task.train.x.double().numpy().T) for task in stream)
    for matrix, size in ((one, 1), (two, 100 if alignment == "scaled" else 1)):
        values = np.linalg.eigvalsh(matrix)
        assert values[-1] / values[0] == pytest.approx(100, rel=0.1)
        assert values.mean() == pytest.approx(size, rel=0.05)
    alike = (one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two)
    assert alike < 0.9 if alignment == "rotated" else alike > 0.999
    # Without noise and with equal weights, one linear model fits both.
    x = torch.cat([task.train.x for task in stream]).double().numpy()
    y = torch.cat([task.train.y for task in stream]).double().numpy()
    _, left, _, _ = np.linalg.lstsq(x, y, rcond=None)
    assert left[0] / len(y) < 1e-8
    assert float(stream[0].train.y.std()) == pytest.approx(1, abs=0.02)


def test_weights_of_an_asked_similarity():
    stream = covariance_alignment("same", features=4, similarity=0.3, noise=0.0, samples=50)
    fits = [np.linalg.lstsq(t.train.x.numpy(), t.train.y.numpy(), rcond=None)[0] for t in stream]
    cosine = fits[0] @ fits[1] / np.linalg.norm(fits[0]) / np.linalg.norm(fits[1])
    assert cosine == pytest.approx(0.3, abs=1e-4)


# ---- linear maps --------------------------------------------------------------------------------------


def test_maps_have_their_ranks_and_share_directions():
    stream = critical_periods((2, 5), 10, 8, shared=1, samples=200)
    maps = [
        np.linalg.lstsq(t.train.x.double().numpy(), t.train.y.double().numpy(), rcond=None)[0].T
        for t in stream
    ]
    for matrix, rank in zip(maps, (2, 5), strict=True):
        values = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(values[:rank], np.sqrt(8 / rank), rtol=1e-5)
        np.testing.assert_allclose(values[rank:], 0, atol=1e-5)
    cosine = (maps[0] * maps[1]).sum() / np.linalg.norm(maps[0]) / np.linalg.norm(maps[1])
    assert cosine == pytest.approx(1 / np.sqrt(10), abs=1e-5)
    assert stream.info["task_correlation"][0][1] == pytest.approx(cosine, abs=1e-5)


def test_a_linear_net_reconstructs_the_second_map_and_forgets_the_first():
    def linear(shape, outputs):
        return torch.nn.Linear(shape[0], outputs, bias=False)

    results = compare(
        critical_periods(1, 4, 2, samples=400), "naive", model=linear, seeds=1, epochs=5, lr=0.03, quiet=True
    )
    scores = results.scores["naive"][0]
    assert scores[0, 0] > -0.01
    assert scores[1, 1] > -0.01
    # Orthogonal directions of as much variance: missing are the first map, and the other is too much.
    assert scores[1, 0] < -1.5


# ---- targets of a table -------------------------------------------------------------------------------


def rows(n=60):
    return pd.DataFrame(
        {
            "a": np.arange(n) * 1.5,
            "kind": [["x", "y", "z"][i % 3] for i in range(n)],
            "size": np.arange(n) / 7,
            "sex": [["f", "m"][i % 2] for i in range(n)],
        }
    )


def test_targets_of_a_table_share_their_rows(tmp_path):
    stream = table_targets(rows(), ["kind", "size", "sex"])
    check_stream(stream)
    assert stream.outputs == 6
    assert [task.outputs for task in stream] == [(0, 1, 2), (3,), (4, 5)]
    assert stream.input_shape == (1,)
    for which in ("train", "val", "test"):
        parts = [getattr(task, which) for task in stream]
        assert all(part.x is parts[0].x for part in parts)
        # The number of a row says what its labels are.
        number = torch.searchsorted(torch.cat([t.x for t in (stream[0].train, stream[0].val, stream[0].test)])
                                    .flatten().sort().values, parts[0].x.flatten())  # fmt: skip
        assert torch.equal(parts[0].y, number % 3)
        assert torch.equal(parts[2].y, number % 2 + 4)
    path = tmp_path / "t.csv"
    rows().to_csv(path, index=False)
    read = get(f"table-targets({str(path)!r}, [kind, size, sex])")
    assert read.fingerprint() == stream.fingerprint()


def test_adult_with_two_targets(folder):
    write_adult(folder)
    stream = get("adult-two-targets")
    check_stream(stream)
    assert stream.names == ["income", "marital-status"]
    assert stream.outputs == 4
    assert all(one.x is two.x for one, two in [(stream[0].train, stream[1].train)])
    # Six numbers; one value of five categories; two of the country.
    assert stream.input_shape == (6 + 5 + 2,)
    single = adult_two_targets("never-married", drop=[])
    assert single.input_shape == (6 + 5 + 4,)
    assert single[1].outputs == (2, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: table_targets(rows(), ["kind"]), ["`labels`", "two different columns"]),
        (lambda: table_targets(rows(), ["kind", "kind"]), ["`labels`", "two different columns"]),
        (lambda: table_targets(rows(), ["kind", "no"]), ["no column 'no'"]),
        (lambda: table_targets(rows(), ["kind", "sex"], objectives=["regression"]), ["each of 2 labels"]),
        (lambda: adult_two_targets(drop=["income"]), ["`drop`", "'income'"]),
        (lambda: adult_two_targets(drop=["x"]), ["unknown column of adult"]),
        (lambda: critical_periods(15), ["at most 20 directions", "found 30"]),
        (lambda: critical_periods([1, 2, 3]), ["`ranks`", "2 tasks"]),
        (lambda: critical_periods(shared=6), ["`shared`", "at most 5"]),
        (lambda: covariance_alignment(condition=0.5), ["`condition`"]),
        (lambda: covariance_alignment(similarity=2), ["`similarity`"]),
        (lambda: covariance_alignment(samples=0), ["`samples`", "at least 1"]),
        (lambda: r_mtgb(outliers=11), ["`outliers`", "at most 10"]),
        (lambda: r_mtgb(samples=10**9), ["rows times their width"]),
        (lambda: r_mtgb("pooled", tasks=1, samples=1), ["labels that vary"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, words, refuses):
    with refuses(*words):
        make()
