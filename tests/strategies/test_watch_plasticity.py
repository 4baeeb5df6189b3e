"""Watching hidden units: the measures by hand, against NumPy, and no effect."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.scenarios import get as get_stream
from perdure.strategies import WatchPlasticity
from perdure.strategies.plasticity.watch import effective_rank
from perdure.testing import tiny_stream

STREAM = "permuted-digits(tasks=3) | limit(150)"
RUN = {"seeds": 2, "epochs": 1, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[9, 7])"}


def test_it_keeps_the_contract(level):
    check_strategy(WatchPlasticity(), level=level)


def seen(results, name):
    report = results.extras[name]["report"]["watch-plasticity"]
    return {k: np.array(v) for k, v in report.items()}


@pytest.mark.parametrize("base", ["naive", "ewc", "replay(20)", "layer-norm"])
def test_watching_changes_nothing_to_the_bit(base):
    results = compare(STREAM, [base, f"{base} + watch-plasticity(samples=40)"], keep=True, **RUN)
    alone, beside = results.scores.values()
    np.testing.assert_array_equal(alone, beside)
    one, two = (trained.params(1) for trained in results.trained.values())
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_measures_against_numpy():
    name = "naive + watch-plasticity(threshold=0.3, samples=None)"
    results = compare(STREAM, {name: name}, keep=True, **RUN)
    found, trained = seen(results, name), results.trained[name]
    stream = get_stream(STREAM)
    x = stream[2].train.inputs().double().flatten(1).numpy()
    for k in range(2):
        p = {key: v.double().numpy() for key, v in trained.params(k).items()}
        layers = [name.removesuffix(".weight") for name in p if name.endswith("weight")]
        first = np.maximum(x @ p[f"{layers[0]}.weight"].T + p[f"{layers[0]}.bias"], 0)
        second = np.maximum(first @ p[f"{layers[1]}.weight"].T + p[f"{layers[1]}.bias"], 0)
        scores = [h.mean(0) / h.mean() for h in (first, second)]
        assert found["dormant"][k, 2] == pytest.approx(np.mean(np.concatenate(scores) <= 0.3))
        values = np.linalg.svd(second, compute_uv=False)
        share = values[values > 1e-9 * values[0]] / values.sum()
        assert found["rank"][k, 2] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
        every = np.concatenate([v.ravel() for v in p.values()])
        assert found["weight"][k, 2] == pytest.approx(np.abs(every).mean())
    assert found["seen"].tolist() == [[1, 1, 1]] * 2


def test_effective_ranks_by_hand():
    # Singular values 3 and 1: shares 3/4 and 1/4.
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(torch.diag(torch.tensor([9.0, 1.0]))).item() == pytest.approx(expected)
    assert effective_rank(torch.eye(5)).item() == pytest.approx(5)
    assert effective_rank(torch.zeros(3, 3)).item() == 0
    assert effective_rank(torch.full((2, 2), torch.nan)).item() == 0
    rows = torch.randn(50, 6)
    turned = rows @ torch.linalg.qr(torch.randn(6, 6)).Q * 7  # turning and scaling change nothing
    one, two = (effective_rank((a.T @ a).double()).item() for a in (rows, turned))
    assert one == pytest.approx(two, rel=1e-4)


def test_what_learns_all_at_once_is_looked_at_once():
    for spec in ("joint + watch-plasticity", "weighted + watch-plasticity"):
        results = compare(tiny_stream("task", 3), [spec], seeds=1, epochs=1, quiet=True, batch_size=4)
        found = seen(results, results.strategies[0])
        assert found["seen"].tolist() == [[0, 0, 1]]
        assert found["weight"][0, :2].tolist() == [0, 0]


def test_dead_layers_count_as_dormant():
    def dead():
        model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
        nn.init.constant_(model[0].bias, -1000.0)
        return model

    results = compare(
        tiny_stream("domain", 2), ["watch-plasticity"], seeds=1, epochs=1, quiet=True, model=dead
    )
    found = seen(results, "watch-plasticity")
    assert found["dormant"].tolist() == [[1, 1]]
    assert found["rank"].tolist() == [[0, 0]]


def test_a_model_with_a_forward_of_its_own_is_refused():
    with pytest.raises(PerdureError, match="watch-plasticity needs a sequence of linear or") as caught:
        compare("split-digits | take(2)", ["watch-plasticity"], **{**RUN, "model": "resnet(width=4)"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"threshold": -1.0}, "threshold must be at least 0; found -1.0"),
        ({"samples": 0}, "samples must be a whole number of at least 1; found 0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        WatchPlasticity(**values)
    assert str(caught.value) == line


def test_convolutions_are_watched():
    results = compare(
        "split-digits | take(2) | limit(60)", ["naive + watch-plasticity"], seeds=1, epochs=1,
        quiet=True, model="cnn(channels=[3], hidden=4)",
    )  # fmt: skip
    found = seen(results, results.strategies[0])
    assert ((found["rank"] >= 0) & (found["rank"] <= 4)).all()
    # Three channels and four units.
    np.testing.assert_allclose(found["dormant"] * 7, (found["dormant"] * 7).round(), atol=1e-5)
