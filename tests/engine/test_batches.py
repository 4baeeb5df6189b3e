"""Norm layers that need two samples: a last batch of one joins the one before, what cannot is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.engine.data import Sampler
from perdure.scenarios import from_arrays
from perdure.testing import tiny_norm, tiny_stream


def run(strategy, data, batch_size=4, model=tiny_norm, epochs=2):
    return compare(data, [strategy], model=model, seeds=1, epochs=epochs, batch_size=batch_size, quiet=True)


@pytest.mark.parametrize(
    ("n", "batch_size", "least", "sizes"),
    [
        (9, 4, 2, [4, 5]), (10, 4, 2, [4, 4, 2]), (8, 4, 2, [4, 4]), (5, 4, 2, [5]), (3, 4, 2, [3]),
        (1, 4, 2, [1]), (9, 4, 1, [4, 4, 1]), (3, 2, 2, [3]), (3, 1, 2, [1, 1, 1]),
    ],
)  # fmt: skip
def test_every_sample_comes_once_in_batches_that_are_large_enough(n, batch_size, least, sizes):
    sampler = Sampler(torch.tensor([0, 1]), batch_size, torch.float32, True, least)
    order = sampler.order(n, 0, "order")
    drawn = list(sampler.cut(order))
    assert [index.shape[1] for index, _, _ in drawn] == [len(w) for _, w, _ in drawn] == sizes
    assert [count for _, _, count in drawn] == sizes
    assert torch.equal(torch.cat([index for index, _, _ in drawn], 1), order)
    assert sampler.steps(n) == len(sizes)
    assert (sampler.smallest(n) >= least) == (min(sizes) >= least)


def test_padded_tails_stay_as_they_are():
    sampler = Sampler(torch.tensor([0]), 4, torch.float32, False, 2)
    assert [w.sum().item() for _, w, _ in sampler.cut(sampler.order(9, 0, "order"))] == [4, 4, 1]
    assert (sampler.steps(9), sampler.smallest(9)) == (3, 4)


@pytest.mark.parametrize("strategy", ["naive", "fpf(steps=2)"])
def test_a_last_batch_of_one_joins_the_one_before(strategy):
    results = run(strategy, tiny_stream("domain", (8, 9)))
    (costs,) = results.costs.values()
    apart = 2 if "fpf" in strategy else 0
    assert costs["steps"] - apart == 2 * (2 + 2)
    assert results.scores[strategy].shape == (1, 2, 2)


def test_models_that_take_one_sample_get_the_batches_they_had():
    def images(n):
        return np.random.default_rng(n).normal(size=(n, 1, 4, 4)), np.arange(n) % 2

    data = from_arrays([(images(11), images(4))], "domain", val=0.01)
    assert len(data[0].train) % 4 == 1

    def model(shape, outputs):
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, outputs))

    assert run("naive", data, model=model, epochs=1).costs["naive"]["steps"] == 3


def instance(shape, outputs):
    return nn.Sequential(
        nn.Unflatten(1, (5, 1)),
        nn.InstanceNorm1d(5, track_running_stats=True),
        nn.Flatten(),
        nn.Linear(5, outputs),
    )


@pytest.mark.parametrize(
    ("strategy", "data", "batch_size", "model", "line"),
    [
        ("naive", (8, 9), 1, tiny_norm, "need at least 2 samples in each batch .*; found batch_size=1"),
        ("fpf", (8, 9), 1, tiny_norm, "need at least 2 samples in each batch .*; found batch_size=1"),
        ("naive", (8, 1), 4, tiny_norm, "in each batch of training; found a phase of one training sample"),
        (
            "naive",
            (8, 8),
            4,
            instance,
            r"does not train on inputs of shape \(5,\): a norm layer: Expected more",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_training(
    tmp_path, strategy, data, batch_size, model, line
):
    with pytest.raises(PerdureError, match=line) as caught:
        compare(
            tiny_stream("domain", data), ["joint", strategy], model=model, seeds=1, batch_size=batch_size,
            quiet=True, out=tmp_path / "run",
        )  # fmt: skip
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_who_joins_samples_may_have_batches_of_one():
    results = run("replay(8)", tiny_stream("domain", (3, 3)), batch_size=1, epochs=1)
    assert results.costs["replay(8)"]["steps"] == 6
