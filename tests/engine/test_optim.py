"""Optimisers follow torch's, step by step; rates and decays may differ by replica."""

import numpy as np
import pytest
import torch
from torch.func import vmap

from perdure import compare
from perdure.core.errors import PerdureError
from perdure.optim.optimizer import OPTIMIZERS
from perdure.optim.scaled import Scaled
from perdure.optim.schedules import SCHEDULES

CASES = [
    ("sgd", 0.0, lambda p, lr, wd: torch.optim.SGD(p, lr, weight_decay=wd)),
    ("sgd(momentum=0.9)", 0.01, lambda p, lr, wd: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=wd)),
    (
        "sgd(momentum=0.9, nesterov=True)",
        0.01,
        lambda p, lr, wd: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True, weight_decay=wd),
    ),
    ("adam", 0.0, lambda p, lr, wd: torch.optim.Adam(p, lr, weight_decay=wd)),
    ("adam", 0.1, lambda p, lr, wd: torch.optim.Adam(p, lr, weight_decay=wd)),
    ("adamw", 0.1, lambda p, lr, wd: torch.optim.AdamW(p, lr, weight_decay=wd)),
]


@pytest.mark.parametrize(("spec", "decay", "reference"), CASES)
def test_trajectories_equal_torchs_with_a_rate_for_each_replica(spec, decay, reference):
    rule = OPTIMIZERS.get(spec)
    generator = torch.Generator().manual_seed(0)
    rates, start = [0.1, 0.003], torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    grads = torch.randn(30, 2, 4, 3, generator=generator, dtype=torch.float64)
    params = {"w": start.clone()}
    lr = torch.tensor(rates, dtype=torch.float64)
    decays = torch.tensor([decay, decay / 2], dtype=torch.float64) if decay else None
    state = vmap(rule.init)(params)
    for g in grads:
        args = (params, {"w": g}, state, lr, decays)
        params, state = vmap(rule.update, (0, 0, 0, 0, None if decays is None else 0))(*args)
    for r, rate in enumerate(rates):
        weight = torch.nn.Parameter(start[r].clone())
        optimizer = reference([weight], rate, decay / (r + 1))
        for g in grads[:, r]:
            weight.grad = g.clone()
            optimizer.step()
        assert torch.allclose(params["w"][r], weight, rtol=0, atol=1e-12)


def test_one_step_of_sgd_by_hand():
    rule = OPTIMIZERS.get("sgd")
    params, grads = {"w": torch.tensor([1.0, -2.0])}, {"w": torch.tensor([0.5, 0.5])}
    moved, _ = rule.update(params, grads, {}, torch.tensor(0.1), torch.tensor(0.2))
    # 1 - 0.1 (0.5 + 0.2 * 1) = 0.93; -2 - 0.1 (0.5 - 0.4) = -2.01
    assert moved["w"].tolist() == pytest.approx([0.93, -2.01])


def test_schedules():
    cosine, linear, steps = (
        SCHEDULES.get("cosine"),
        SCHEDULES.get("linear(warmup=0.5)"),
        SCHEDULES.get("steps"),
    )
    assert [round(cosine(i, 4), 6) for i in (0, 2, 4)] == [1.0, 0.5, 0.0]
    assert [linear(i, 4) for i in range(4)] == [0.5, 1.0, 1.0, 0.5]
    assert [steps(i, 4) for i in range(4)] == pytest.approx([1.0, 1.0, 0.1, 0.1])
    with pytest.raises(PerdureError, match="every, a share of the phase"):
        SCHEDULES.get("steps(every=0)")


@pytest.mark.parametrize(("spec", "decay", "reference"), CASES)
def test_scaled_rates_are_those_of_torchs_parameter_groups(spec, decay, reference):
    rule = Scaled(spec, {"head": 30.0, "^body": 0.5})
    generator = torch.Generator().manual_seed(1)
    names = ["body.head.weight", "body.weight", "neck.weight", "head.bias"]
    start = {k: torch.randn(3, 2, generator=generator, dtype=torch.float64) for k in names}
    own = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
    # The first expression that fits counts.
    groups = [
        {"params": [own[k]], "lr": 0.01 * f} for k, f in zip(names, (30.0, 0.5, 1.0, 30.0), strict=True)
    ]
    optimizer = reference(groups, 0.01, decay)
    params, state = start, rule.init(start)
    for _ in range(20):
        grads = {k: torch.randn(3, 2, generator=generator, dtype=torch.float64) for k in names}
        lr, wd = torch.tensor(0.01, dtype=torch.float64), torch.tensor(decay, dtype=torch.float64)
        params, state = rule.update(params, grads, state, lr, wd if decay else None)
        for k, p in own.items():
            p.grad = grads[k].clone()
        optimizer.step()
    for k in names:
        assert torch.allclose(params[k], own[k], rtol=1e-10, atol=1e-10), k


def test_a_factor_of_0_freezes_to_the_bit():
    rule = OPTIMIZERS.get("scaled('adamw', {'a': 0})")
    params = {"a": torch.randn(5), "b": torch.randn(5)}
    moved, _ = rule.update(params, params, rule.init(params), torch.tensor(0.1), torch.tensor(0.1))
    assert torch.equal(moved["a"], params["a"])
    assert not torch.equal(moved["b"], params["b"])


def test_heads_learn_faster_in_an_experiment():
    terms = {"seeds": 2, "epochs": 1, "quiet": True, "model": "mlp(hidden=[8])"}
    stream = "split-digits | take(2)"
    plain = compare(stream, ["naive"], lr=0.001, **terms)
    faster = compare(stream, ["naive"], lr=0.001, optimizer="scaled('sgd', {'^3': 100})", **terms)
    both = compare(stream, ["naive"], lr=0.1, optimizer="scaled('sgd', {'^1': 0.01})", **terms)
    slow, fast = (results.metric("learning_accuracy", "naive").mean() for results in (plain, faster))
    assert slow < fast
    assert np.allclose(faster.scores["naive"], both.scores["naive"], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scaled('sgd', {})", "factors must be a table"),
        ("scaled('sgd', {'head': -1})", "the factor of 'head' must be at least 0; found -1"),
        ("scaled('sgd', {'(': 1})", r"a name in factors must be a regular expression; found '\('"),
        ("scaled('sdg', {'head': 1})", "unknown optimizer 'sdg'"),
        ("scaled(3, {'head': 1})", "scaled: rule must be a string or an Optimizer; found 3"),
    ],
)
def test_bad_factors_are_refused(spec, message):
    with pytest.raises(PerdureError, match=message):
        OPTIMIZERS.get(spec)


def test_a_name_that_is_nowhere_is_refused():
    rule = Scaled("sgd", {"haed": 10.0})
    with pytest.raises(PerdureError, match=r"'haed' is not in 'head\.weight'"):
        rule.init({"head.weight": torch.ones(1)})
