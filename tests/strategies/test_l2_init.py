"""L2 to the start."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, check_strategy, compare
from perdure.strategies import L2Init

STREAM = "permuted-digits(tasks=3) | limit(200)"
RUN = {"seeds": 2, "epochs": 1, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[16])"}


def test_it_keeps_the_contract(level):
    check_strategy(L2Init(0.1), level=level)


def test_gradient_by_hand():
    strategy = L2Init(0.25)
    state = strategy.init(None, {"w": torch.tensor([1.0, -2.0])}, None)
    grads = {"w": torch.tensor([0.5, 0.0])}
    found = strategy.gradient(None, {"w": torch.tensor([3.0, -2.0])}, state, grads, None)
    # 0.5 + 2 * 0.25 * (3 - 1), and nothing for the weight that has not moved.
    assert found["w"].tolist() == [1.5, 0.0]


def test_gradient_is_that_of_the_penalty():
    torch.manual_seed(0)
    start, now = torch.randn(2, 5).double()
    strategy = L2Init(0.3)
    state = strategy.init(None, {"w": start}, None)
    found = strategy.gradient(None, {"w": now}, state, {"w": torch.zeros_like(now)}, None)["w"]
    slope = torch.func.grad(lambda w: 0.3 * (w - start).square().sum())(now)
    torch.testing.assert_close(found, slope, rtol=1e-12, atol=0)


def test_strength_zero_is_naive_and_strength_holds_near_the_start():
    results = compare(STREAM, ["naive", "l2-init(strength=0.0)", "l2-init(strength=1.0)"], keep=True, **RUN)
    naive, none, _ = results.scores.values()
    np.testing.assert_array_equal(naive, none)

    def moved(name):
        trained = results.trained[name]
        begun = results.trained["l2-init(strength=1.0)"].state("l2-init")["start"]
        return sum(float((p - begun[k]).square().sum()) for k, p in trained.params().items())

    assert moved("l2-init(strength=1.0)") < 0.5 * moved("naive")


def test_strengths_are_tuned_as_replicas():
    tuned = compare(STREAM, ["l2-init"], tune={"l2-init.strength": [0.01, 5.0]}, **RUN)
    best = tuned.extras["l2-init"]["chosen"]["l2-init.strength"]
    alone = compare(STREAM, [f"l2-init(strength={best})"], **RUN)
    np.testing.assert_allclose(tuned.scores["l2-init"], next(iter(alone.scores.values())), atol=1e-9)


def test_a_negative_strength_is_refused():
    with pytest.raises(PerdureError, match="strength must be at least 0; found -1"):
        L2Init(-1)
