"""Synaptic intelligence."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.strategies import SI, Step


def one(value):
    return {"w": torch.tensor([value], dtype=torch.float64)}


def walk(strategy, state, start, lr, slope, steps):
    """Descend along a slope that is a function of the weight, as the engine would."""
    params = {k: v.clone() for k, v in start.items()}
    for _ in range(steps):
        grads = strategy.gradient(None, params, state, {k: slope(v) for k, v in params.items()}, None)
        moved = {k: v - lr * grads[k] for k, v in params.items()}
        moved, state = strategy.after_step(None, moved, state, Step(None, params, grads))
        params = moved
    return params, state


def test_importance_by_hand():
    # Loss w^2 from w = 2 with steps of 0.1: slopes 4 and 3.2, weights 1.6 and 1.28.
    # Path 4 * 0.4 + 3.2 * 0.32 = 2.624, way 0.72, importance 2.624 / (0.5184 + 0.1) = 4.24321.
    strategy = SI(strength=1.0, damping=0.1)
    state = strategy.init(None, one(2.0), None)
    params, state = strategy.begin_task(None, one(2.0), state, None)
    params, state = walk(strategy, state, params, 0.1, lambda w: 2 * w, 2)
    assert params["w"].item() == pytest.approx(1.28)
    assert state["path"]["w"].item() == pytest.approx(2.624)
    params, state = strategy.end_task(None, params, state, None)
    assert state["importance"]["w"].item() == pytest.approx(2.624 / 0.6184)


def test_penalty_by_hand():
    # 1.5 * 4 * (3 - 1)^2 has the slope 2 * 1.5 * 4 * 2 = 24.
    strategy = SI(strength=1.5)
    state = {"path": one(0.0), "importance": one(4.0), "anchor": one(1.0)}
    grads = strategy.gradient(None, one(3.0), state, one(0.25), None)
    assert grads["w"].item() == pytest.approx(24.25)


def test_the_path_is_the_drop_of_the_loss_along_a_fine_descent():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(7, generator=generator, dtype=torch.float64)
    start = {"w": torch.zeros(7, dtype=torch.float64)}
    strategy = SI(strength=0.0)
    state = strategy.init(None, start, None)
    params, state = walk(strategy, state, start, 1e-4, lambda w: 2 * (w - target), 10_000)
    drop = target.square() - (params["w"] - target).square()
    torch.testing.assert_close(state["path"]["w"], drop, rtol=1e-3, atol=0)


def test_the_task_gradient_leaves_the_penalty_out_and_the_total_holds_it():
    state = {"path": one(0.0), "importance": one(4.0), "anchor": one(1.0)}
    for kind, expected in [("task", 0.5), ("total", 0.5 + 2 * 4.0 * 2.0)]:
        strategy = SI(strength=1.0, gradient_of=kind)
        params, new = walk(strategy, state, one(3.0), 0.01, lambda w: torch.full_like(w, 0.5), 1)
        way = params["w"].item() - 3.0
        assert new["path"]["w"].item() == pytest.approx(-expected * way)


def test_negative_importances_are_cut_or_kept_and_large_ones_capped_in_the_penalty_only():
    state = {"path": one(-2.0), "importance": one(0.5), "anchor": one(0.0)}
    _, cut = SI(damping=1.0).end_task(None, one(1.0), state, None)
    _, kept = SI(damping=1.0, positive=False).end_task(None, one(1.0), state, None)
    assert cut["importance"]["w"].item() == 0.0
    assert kept["importance"]["w"].item() == pytest.approx(0.5 - 2.0 / 2.0)
    state = {"path": one(0.0), "importance": one(9.0), "anchor": one(0.0)}
    capped = SI(strength=1.0, cap=0.25)
    assert capped.gradient(None, one(1.0), state, one(0.0), None)["w"].item() == pytest.approx(0.5)
    assert capped.end_task(None, one(0.0), state, None)[1]["importance"]["w"].item() == 9.0


@pytest.mark.slow
def test_the_documented_mapping_gives_avalanches_importances(monkeypatch):
    from perdure.strategies.interop.avalanche import load, quiet

    with quiet():
        pytest.importorskip("avalanche")
        plugin_class = load("avalanche.training.plugins").SynapticIntelligencePlugin

    # Avalanche 0.6 keeps views: on a CPU the weights before and after a step are the same memory.
    def extract(model, target, excluded):
        for name, p in plugin_class.allowed_parameters(model, excluded):
            target[name].data = p.detach().flatten().clone()

    monkeypatch.setattr(plugin_class, "extract_weights", staticmethod(extract))
    with quiet():
        theirs = follow_avalanche(plugin_class, 300.0)
    ours = follow_ours(300.0)
    for k in ours:
        torch.testing.assert_close(ours[k], theirs[k], rtol=1e-4, atol=1e-5)
    assert any(float(v.abs().max()) > 0.01 for v in ours.values())


TARGETS = [torch.linspace(-1, 1, 5), torch.linspace(2, -1, 5), torch.full((5,), 0.5)]


def toy_loss(w, target):
    return ((w - target) ** 2).sum() + 0.1 * (w.sum()) ** 2


def follow_avalanche(kind, strength):
    """Three toy tasks with Avalanche's plugin; returns the weights and the uncut importances."""
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.zeros(5))
    plugin = kind(si_lambda=strength, eps=1e-7)
    strategy = type("Strategy", (), {})()
    strategy.model, strategy.device = model, torch.device("cpu")
    strategy.clock = type("Clock", (), {"train_exp_counter": 0})()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for target in TARGETS:
        plugin.before_training_exp(strategy)
        for _ in range(5):
            plugin.before_training_iteration(strategy)
            optimizer.zero_grad()
            strategy.loss = toy_loss(model.w, target)
            plugin.before_backward(strategy)
            strategy.loss.backward()
            optimizer.step()
            plugin.after_training_iteration(strategy)
        plugin.after_training_exp(strategy)
        strategy.clock.train_exp_counter += 1
    return {"w": model.w.detach(), "importance": -plugin.syn_data["cum_trajectory"]["w"].data}


def follow_ours(strength):
    strategy = SI(strength / 2, damping=1e-7, gradient_of="total", positive=False, cap=0.001)
    params = {"w": torch.zeros(5)}
    state = strategy.init(None, params, None)
    for target in TARGETS:

        def slope(w, target=target):
            return torch.func.grad(toy_loss)(w, target)

        params, state = strategy.begin_task(None, params, state, None)
        params, state = walk(strategy, state, params, 0.02, slope, 5)
        params, state = strategy.end_task(None, params, state, None)
    return {"w": params["w"], "importance": state["importance"]["w"]}


def test_it_forgets_less_than_naive_and_without_strength_is_naive():
    results = compare(
        "permuted-digits(tasks=3)", ["naive", "si", "si(strength=0.0)"], model="mlp(hidden=[64])", seeds=3,
        epochs=2, quiet=True, dtype="float64",
    )  # fmt: skip
    naive, si, zero = results.scores.values()
    np.testing.assert_array_equal(naive, zero)
    np.testing.assert_array_equal(naive[:, 0], si[:, 0])
    assert si[:, -1, :-1].mean() > naive[:, -1, :-1].mean()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"strength": -1}, "strength must be at least 0; found -1"),
        ({"damping": 0}, "damping must be positive; found 0"),
        ({"gradient_of": "all"}, "si: gradient_of must be 'task' or 'total'; found 'all'"),
        ({"cap": 0}, "cap must be positive; found 0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        SI(**values)
    assert str(caught.value) == line
