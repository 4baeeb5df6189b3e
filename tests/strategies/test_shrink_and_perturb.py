"""Shrink and perturb: by hand, its stationary spread, and when it acts."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.strategies import ShrinkAndPerturb
from perdure.strategies.contract.phase import Step
from perdure.testing import tiny_stream

STREAM = "permuted-digits(tasks=3) | limit(100)"
RUN = {"seeds": 2, "epochs": 1, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[8])"}


@pytest.mark.parametrize("at", ["step", "task"])
def test_it_keeps_the_contract(at, level):
    check_strategy(ShrinkAndPerturb(0.1, 0.1, at=at), level=level)


def stepped(strategy, params, step=0):
    rng = Rng(torch.tensor(0), torch.tensor(step))
    batch = Batch({}, torch.tensor(0), rng)
    return strategy.after_step(None, params, {}, Step(batch, params, params))[0], rng


def test_one_step_by_hand():
    params = {"w": torch.tensor([2.0, -4.0]).double(), "b": torch.tensor([1.0]).double()}
    new, rng = stepped(ShrinkAndPerturb(0.25, 0.0), params)
    assert {k: v.tolist() for k, v in new.items()} == {"w": [1.5, -3.0], "b": [0.75]}
    new, rng = stepped(ShrinkAndPerturb(0.25, 0.5), params)
    expected = 0.75 * params["w"] + 0.5 * rng.normal("w", 2, dtype=torch.float64)
    torch.testing.assert_close(new["w"], expected, rtol=0, atol=0)


def test_left_alone_weights_end_at_the_spread_that_is_documented():
    strategy, params = ShrinkAndPerturb(0.05, 0.1), {"w": torch.full((20_000,), 3.0).double()}
    for step in range(150):
        params, _ = stepped(strategy, params, step)
    # Variance v = 0.95^2 v + 0.1^2; 20,000 numbers tell a standard deviation to half a percent.
    assert params["w"].std().item() == pytest.approx(0.1 / (1 - 0.95**2) ** 0.5, rel=0.03)
    assert params["w"].mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("at", ["step", "task"])
def test_without_both_it_is_naive_to_the_bit(at):
    results = compare(STREAM, {"naive": "naive", "none": ShrinkAndPerturb(0.0, 0.0, at=at)}, **RUN)
    np.testing.assert_array_equal(results.scores["naive"], results.scores["none"])


def test_per_task_it_acts_between_tasks(walk):
    strategy = ShrinkAndPerturb(0.5, 0.0, at="task")
    before = None
    for moment, phase, params, _, _ in walk(strategy, stream(), model, epochs=1):
        if moment == "start":
            before = params
        elif moment == "begin":
            factor = 1.0 if phase.tasks == (0,) else 0.5
            assert all(torch.equal(params[k], factor * before[k]) for k in params)


def test_a_joint_stream_has_nothing_before_its_only_phase(walk):
    strategy = ShrinkAndPerturb(0.5, 0.0, at="task")
    moments = list(walk(strategy, stream("joint"), model, epochs=1))
    assert all(torch.equal(moments[0][2][k], v) for k, v in moments[1][2].items())


def stream(setting="domain"):
    return tiny_stream(setting, 3)


def model(shape, outputs):
    return torch.nn.Linear(5, outputs)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"shrink": 2.0}, "shrink must lie in [0, 1]; found 2.0"),
        ({"noise": -1.0}, "noise must be at least 0; found -1.0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        ShrinkAndPerturb(**values)
    assert str(caught.value) == line


def test_another_moment_is_refused():
    with pytest.raises(PerdureError, match="at must be"):
        ShrinkAndPerturb(at="epoch")
