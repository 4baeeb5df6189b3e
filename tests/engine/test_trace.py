"""Recorded functions compute what the functions compute, in the memory they were given."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from perdure.engine.trace import BLOCK, Traced
from perdure.random import Rng


def net():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def stacked(replicas=3):
    return {k: torch.randn(replicas, *v.shape) for k, v in net().named_parameters()}


MODULE = net()


def sgd(params, x):
    def loss(p, x):
        return functional_call(MODULE, p, (x,)).square().mean()

    grads = vmap(grad(loss))(params, x)
    return {k: torch.sub(p, grads[k], alpha=0.1) for k, p in params.items()}


def test_a_record_computes_the_same_and_writes_in_place():
    torch.manual_seed(0)
    params, x = stacked(), torch.randn(3, 4, 5)
    expected = sgd(sgd(params, x), x)
    traced = Traced(sgd, (params, x), donate=1)
    places = {k: v.data_ptr() for k, v in params.items()}
    for _ in range(2):
        params = traced(params, x)
    for k in expected:
        assert torch.allclose(params[k], expected[k], atol=1e-6)
        assert params[k].data_ptr() == places[k]


def test_recording_does_not_touch_its_arguments():
    params, x = stacked(), torch.randn(3, 4, 5)
    before = {k: v.clone() for k, v in params.items()}
    Traced(sgd, (params, x), donate=1)
    assert all(torch.equal(params[k], before[k]) for k in params)


def test_an_old_value_that_is_still_needed_is_not_overwritten():
    def follow(state):
        new = state["p"] + 1.0
        return {"p": new, "moved": state["moved"] + (new - state["p"]), "last": state["p"]}

    state = {"p": torch.zeros(3), "moved": torch.zeros(3), "last": torch.full((3,), -1.0)}
    traced = Traced(follow, (state,), donate=1)
    for i in range(4):
        state = traced(state)
        assert state["p"].tolist() == [i + 1.0] * 3
        assert state["last"].tolist() == [float(i)] * 3
        assert state["moved"].tolist() == [i + 1.0] * 3


def test_results_never_share_memory():
    def twice(state):
        new = state["a"] * 2.0
        return {"a": new, "b": new}

    traced = Traced(twice, ({"a": torch.ones(2), "b": torch.ones(2)},), donate=1)
    out = traced({"a": torch.ones(2), "b": torch.ones(2)})
    assert out["a"].data_ptr() != out["b"].data_ptr()


def test_swapped_arguments_stay_swapped():
    traced = Traced(
        lambda s: {"a": s["b"], "b": s["a"] + 1.0}, ({"a": torch.zeros(1), "b": torch.ones(1)},), 1
    )
    state = {"a": torch.tensor([0.0]), "b": torch.tensor([10.0])}
    state = traced(traced(state))
    assert (state["a"].item(), state["b"].item()) == (1.0, 11.0)


def test_scattered_updates_of_a_buffer_happen_in_place():
    def write(state, slot, value):
        return {"buffer": vmap(lambda b, i, v: b.index_put((i,), v))(state["buffer"], slot, value)}

    state = {"buffer": torch.zeros(2, 5)}
    slot, value = torch.tensor([[0, 3], [1, 2]]), torch.ones(2, 2)
    traced = Traced(write, (state, slot, value), donate=1)
    place = state["buffer"].data_ptr()
    state = traced(state, slot, value)
    assert state["buffer"].tolist() == [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0]]
    assert state["buffer"].data_ptr() == place


def test_draws_are_hoisted_and_equal_those_made_inside():
    def draw(seed, step):
        return vmap(lambda s: Rng(s, step).uniform("u", 3) + Rng(s, step).normal("n", 3))(seed)

    seed = torch.tensor([1, 5, 9])
    traced = Traced(draw, (seed, torch.tensor(0)))
    assert len(traced.draws) == 2
    for step in (0, 1, BLOCK - 1, BLOCK, 5 * BLOCK + 3, 2):
        assert torch.equal(traced(seed, torch.tensor(step), step=step), draw(seed, torch.tensor(step)))


def test_flops_are_those_of_the_matrix_products():
    params, x = stacked(), torch.randn(3, 4, 5)
    # forward and weight gradients of both layers, and the input gradient of the second
    expected = 3 * 4 * 2 * (2 * 5 * 7 + 3 * 7 * 3)
    assert Traced(sgd, (params, x)).flops == expected


@pytest.mark.parametrize(("groups", "inputs"), [(1, 8), (4, 2), (8, 1)])
def test_flops_of_a_convolution_in_groups_by_hand(groups, inputs):
    weight, x = torch.randn(8, inputs, 3, 3), torch.randn(2, 8, 5, 5)

    def slopes(weight, x):
        def loss(weight, x):
            return torch.nn.functional.conv2d(x, weight, padding=1, groups=groups).square().sum()

        return grad(loss, (0, 1))(weight, x)

    # The output, and the gradients of weights and inputs: 9 products for each pair of channels and place.
    assert Traced(slopes, (weight, x)).flops == 3 * 2 * (2 * 25) * 8 * inputs * 9


def test_a_branch_on_a_value_is_refused():
    def branch(x):
        return x * 2 if bool(x.sum() > 0) else x

    with pytest.raises(RuntimeError):
        Traced(lambda x: vmap(branch)(x), (torch.ones(2, 2),))


def test_a_plain_step_adds_the_gradients_product_to_the_weights():
    def step(params, rate, x):
        grads = vmap(grad(lambda p, x: functional_call(MODULE, p, (x,)).square().mean()))(params, x)
        return vmap(
            lambda p, g, lr: {k: torch.addcmul(p[k], g[k], lr, value=-1.0) for k in p}
        )(params, grads, rate)  # fmt: skip

    params, x, rate = stacked(), torch.randn(3, 4, 5), torch.tensor([0.1, 0.2, 0.3])
    expected = step(params, rate, x)
    traced = Traced(step, (params, rate, x), donate=1)
    targets = [str(node.target) for node in traced.module.graph.nodes]
    assert targets.count("baddbmm_") == 2
    assert traced.flops == 3 * 4 * 2 * (2 * 5 * 7 + 3 * 7 * 3)
    after = traced(params, rate, x)
    assert all(torch.allclose(after[k], expected[k], atol=1e-6) for k in expected)


def test_a_product_that_reads_another_weight_stays_before_that_weights_update():
    def step(params, rate, x):
        def loss(p):
            return (x @ p["a"] @ p["b"]).square().mean()

        grads = vmap(grad(loss))(params)
        return vmap(
            lambda p, g, lr: {k: torch.addcmul(p[k], g[k], lr, value=-1.0) for k in p}
        )(params, grads, rate)  # fmt: skip

    params = {"a": torch.randn(2, 3, 4), "b": torch.randn(2, 4, 3)}
    rate, x = torch.tensor([0.5, 0.2]), torch.eye(3)
    expected = step(params, rate, x)
    after = Traced(step, (params, rate, x), donate=1)(params, rate, x)
    assert all(torch.allclose(after[k], expected[k], atol=1e-6) for k in expected)
