"""Avalanche's strategies on our streams."""

import importlib
import importlib.util
import random

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.scenarios import blur, from_arrays
from perdure.strategies import AvalancheStrategy, Phase, get
from perdure.testing import tiny_stream

needed = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("avalanche") is None, reason="Avalanche is not installed"),
]


def mark(test):
    for one in needed:
        test = one(test)
    return test


def test_the_package_does_not_import_it(fresh):
    assert "avalanche" not in fresh["strategies"][1]


def test_without_it_the_error_says_what_to_install(monkeypatch):
    def missing(name, package=None):
        raise ModuleNotFoundError(f"No module named {name!r}", name="avalanche")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(PerdureError, match=r"pip install perdure\[avalanche\]"):
        AvalancheStrategy("EWC", ewc_lambda=1.0)
    with pytest.raises(PerdureError, match=r"pip install perdure\[avalanche\]"):
        compare(tiny_stream(), ["avalanche"], seeds=1, quiet=True)


@mark
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("avalanche('Niave')", "unknown Avalanche strategy 'Niave': did you mean Naive?"),
        ("avalanche('EWC')", "(required: ewc_lambda); found none"),
        ("avalanche('EWC', ewc_lambda=1.0, strength=2)", "found ewc_lambda, strength"),
        ("avalanche('Naive', model=1)", "Avalanche's Naive takes no parameters"),
    ],
)
def test_bad_names_and_parameters(spec, line):
    with pytest.raises(PerdureError) as caught:
        get(spec)
    assert line in str(caught.value)


@mark
def test_the_name_builds_it_again():
    strategy = AvalancheStrategy("EWC", mode="online", ewc_lambda=0.5, decay_factor=0.9)
    assert str(strategy) == "avalanche('EWC', decay_factor=0.9, ewc_lambda=0.5, mode='online')"
    assert get(str(strategy)) == strategy
    assert str(AvalancheStrategy()) == "avalanche"
    assert get("avalanche('Naive')") == get("avalanche")


@mark
@pytest.mark.parametrize("setting", ["domain", "task"])
def test_its_naive_and_joint_training_score_as_ours_do(setting):
    theirs = ["avalanche", "avalanche('JointTraining')"]
    scores = compare(
        f"split-digits(setting='{setting}')", ["naive", "joint", *theirs], seeds=3, epochs=4, quiet=True
    ).scores
    for ours, other, distance in [("naive", theirs[0], 0.05), ("joint", theirs[1], 0.05)]:
        assert scores[ours].shape == scores[other].shape
        one, two = scores[ours][:, -1].mean(), scores[other][:, -1].mean()
        assert abs(one - two) < distance, (ours, one, two)


@mark
def test_its_lwf_scores_as_ours_does_with_heads():
    scores = compare(
        "split-digits(setting='task')",
        ["lwf", "avalanche('LwF', alpha=1.0, temperature=2.0)"],
        seeds=3,
        quiet=True,
    ).scores
    one, two = (s[:, -1].mean() for s in scores.values())
    assert abs(one - two) < 0.03


@mark
def test_seeds_decide_and_the_surroundings_do_not():
    stream = tiny_stream("class", (12, 12))
    names = ["avalanche('Replay', mem_size=6)", "avalanche('AGEM', patterns_per_exp=4)"]

    def scores(seeds):
        return compare(stream, names, seeds=seeds, batch_size=4, model="mlp(hidden=[8])", quiet=True).scores

    random.seed(1)
    torch.manual_seed(1)
    before, drawn = random.getstate(), torch.get_rng_state()
    one = scores([5, 6])
    assert random.getstate() == before
    assert torch.equal(torch.get_rng_state(), drawn)
    random.seed(2)
    torch.manual_seed(2)
    two = scores([6])
    for name in one:
        np.testing.assert_array_equal(one[name][1:], two[name])


@mark
def test_in_the_task_setting_it_sees_heads():
    stream = tiny_stream("task", (8, 8))
    learner = start(stream, get("avalanche('LwF', alpha=1.0, temperature=2.0)"))
    for i, task in enumerate(stream):
        learner.learn(task, i)
        output = learner.predict(task.test.x, i)
        assert (output[:, [c for c in range(4) if c not in task.outputs]] == -1000).all()
        assert (output[:, list(task.outputs)] > -1000).all()
    regular = learner.strategy.plugins[0].lwf
    assert {k: set(v) for k, v in regular.prev_classes_by_task.items()} == {0: {0, 1}, 1: {2, 3}}


def start(stream, strategy):
    from perdure.strategies.contract.external import Terms

    torch.manual_seed(0)
    model = nn.Linear(5, stream.outputs)
    terms = Terms(model, 0, 1, 4, lambda p: torch.optim.SGD(p, lr=0.1), torch.device("cpu"))
    return strategy.start(stream, terms)


def test_joint_training_has_one_stage():
    joint = object.__new__(AvalancheStrategy)
    object.__setattr__(joint, "strategy", "JointTraining")
    assert joint.phases(tiny_stream("class", (4, 4))) == [Phase((0, 1))]


@mark
@pytest.mark.parametrize(
    ("setting", "value"),
    [("schedule", "cosine"), ("precision", "bfloat16"), ("dtype", "float64"), ("clip", 1.0)],
)
def test_it_refuses_settings_that_do_not_reach_it(setting, value):
    with pytest.raises(PerdureError, match=f"{setting}.* needs a strategy that is mapped"):
        compare(tiny_stream(), "avalanche", seeds=1, quiet=True, **{setting: value})


@mark
def test_it_says_that_it_has_no_curves():
    results = compare(tiny_stream(), ["naive", "avalanche"], seeds=1, epochs=1, quiet=True, eval_every=2)
    assert [line for line in results.warnings if line.startswith("avalanche: scored after stages only")]


@mark
def test_it_refuses_what_it_cannot_learn():
    x = np.linspace(0, 1, 40)[:, None]
    with pytest.raises(PerdureError, match="classifications only"):
        get("avalanche").check(from_arrays([(x, 2.0 * x[:, 0]), (x + 1, x[:, 0])]))
    mixed = blur(tiny_stream("task", (12, 12)), 0.5)
    with pytest.raises(PerdureError, match="labels whole tasks"):
        start(mixed, get("avalanche"))
