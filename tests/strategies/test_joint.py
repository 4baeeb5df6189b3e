"""The upper baselines."""

import numpy as np
import pytest

from perdure import compare
from perdure.engine.engine import Engine
from perdure.strategies import Cumulative, Joint
from perdure.testing import tiny_model, tiny_stream
from perdure.training import Training

SIZES = (9, 12, 7)


def lengths(strategy, stream):
    """How many samples of which tasks every phase draws from."""
    engine = Engine(stream, strategy, Training(1, 4, device="cpu"), tiny_model, [0])
    found = []
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        found.append((len(data), sorted(set(data.rows["task"].tolist()))))
    return found


@pytest.mark.parametrize("setting", ["task", "domain", "class", "joint"])
def test_joint_trains_on_everything_once(setting):
    stream = tiny_stream(setting, SIZES)
    assert lengths(Joint(), stream) == [(28, [0, 1, 2])]
    results = compare(stream, [Joint()], model=tiny_model, seeds=2, batch_size=4, epochs=3, quiet=True)
    assert results.scores["joint"].shape == (2, 1, 3)
    assert results.costs["joint"]["steps"] == 3 * 7
    assert results.costs["joint"]["samples_seen"] == 3 * 28


def test_cumulatives_phases_hold_all_tasks_so_far():
    stream = tiny_stream("class", SIZES)
    assert lengths(Cumulative(), stream) == [(9, [0]), (21, [0, 1]), (28, [0, 1, 2])]
    assert lengths(Cumulative(), tiny_stream("joint", SIZES)) == [(28, [0, 1, 2])]
    results = compare(stream, [Cumulative()], model=tiny_model, seeds=2, batch_size=4, quiet=True)
    assert results.scores["cumulative"].shape == (2, 3, 3)


def test_in_the_joint_setting_they_are_naive():
    stream, strategies = tiny_stream("joint", SIZES), ["naive", "joint", "cumulative"]
    results = compare(stream, strategies, model=tiny_model, seeds=2, batch_size=4, quiet=True)
    naive, joint, cumulative = results.scores.values()
    np.testing.assert_array_equal(naive, joint)
    np.testing.assert_array_equal(naive, cumulative)


def test_they_know_all_classes_at_the_end():
    results = compare(
        "split-digits",
        ["naive", "joint", "cumulative"],
        model="mlp(hidden=[32])",
        seeds=2,
        epochs=4,
        quiet=True,
    )
    last = {name: scores[:, -1].mean() for name, scores in results.scores.items()}
    assert last["naive"] < 0.4
    assert min(last["joint"], last["cumulative"]) > 0.8
