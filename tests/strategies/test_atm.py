"""ATM: rounds of tuning every task and merging."""

import pytest
import torch

from perdure import PerdureError, compare
from perdure.strategies import ATM, get
from perdure.strategies.merging import TIES
from perdure.testing import tiny_model, tiny_norm, tiny_stream

TERMS = {"seeds": 2, "lr": 0.1, "optimizer": "sgd", "dtype": "float64", "quiet": True, "keep": True}


def weights(found, name):
    replica = found.trained[name].replica
    return {**replica.buffers, **replica.params}


def same(one, other):
    return all(torch.allclose(v, other[k], atol=1e-12) for k, v in one.items())


def test_with_one_step_on_all_samples_it_is_gradient_descent_on_the_mean_of_the_losses():
    stream = tiny_stream("domain", (8, 8, 8), 3)
    terms = {**TERMS, "model": tiny_model, "epochs": 3, "batch_size": 24}
    found = compare(stream, ["atm(rounds=3)", "atm(rounds=1)", "joint"], **terms)
    assert same(weights(found, "atm(rounds=3)"), weights(found, "joint"))
    assert not same(weights(found, "atm(rounds=1)"), weights(found, "joint"))


@pytest.mark.parametrize("setting", ["domain", "task"])
def test_a_round_is_merging_from_where_the_last_one_ended(walk, setting):
    stream, rounds = tiny_stream(setting, tasks=2), ATM(TIES(0.5), rounds=2)
    phases = rounds.phases(stream)
    assert [(p.tasks, p.stage) for p in phases] == [((0,), False), ((1,), False), ((0,), False), ((1,), True)]
    held = [m for m in walk(rounds, stream, tiny_norm) if m[0] != "start"]
    # Where each of the four phases begins and ends.
    (first, _), (second, ended), (third, other), (_, merged) = (
        [
            {k: v for k, v in weights.items() if "batches" not in k}
            for _, _, weights, _, _ in held[2 * i : 2 * i + 2]
        ]
        for i in range(4)
    )
    assert all(torch.equal(second[k], v) for k, v in first.items())
    assert all(torch.equal(third[k], v) for k, v in ended.items())
    (before,), (after,) = held[6][3].values(), held[7][3].values()
    base = {k: third[k] for k in after["memory"]}
    expected = TIES(0.5).merge(base, after["memory"])
    for k, v in expected.items():
        assert torch.allclose(merged[k], v)
        assert not torch.equal(after["memory"][k][1], before["memory"][k][1])
    for k in after["heads"]:
        # Of two tasks with two outputs each: the row of a task is as its own tuning left it.
        assert torch.equal(merged[k][:2], other[k][:2])
        assert not torch.equal(merged[k][:2], third[k][:2])
    assert bool(after["heads"]) == (setting == "task")


def test_one_round_is_merge():
    stream = tiny_stream("task", tasks=2)
    terms = {**TERMS, "model": tiny_norm, "epochs": 2, "batch_size": 4}
    found = compare(stream, ["atm(rounds=1, epochs=2)", "merge"], **terms)
    assert same(weights(found, "atm(rounds=1, epochs=2)"), weights(found, "merge"))
    assert found.scores["atm(rounds=1, epochs=2)"].shape[1] == 1, "one stage: it learns all tasks at once"


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("atm(rule=atlas)", "atm takes a merging rule of weights alone that gives one model; found atlas"),
        ("atm(rule=tall-masks)", "atm takes a merging rule of weights alone .*; found tall-masks"),
        ("atm(rounds=0)", "rounds must be a whole number of at least 1; found 0"),
        ("atm(epochs=0)", "epochs must be a whole number of at least 1; found 0"),
    ],
)
def test_bad_settings_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        get(spec)
