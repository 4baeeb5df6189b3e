"""Loops that are recorded: rollouts and episodes. What is the same at every step is computed once."""

import pytest
import torch
from torch.func import vmap

from perdure.core.random import Rng
from perdure.engine.recording.trace import BLOCK, Traced
from perdure.optim import Adam

SEEDS = torch.tensor([3, 8])


def body(carry, weight, shift, seed, at):
    """Carry a place and a count; the row has the place before, a draw, and what never changes."""

    def one(place, count, weight, shift, seed):
        rng = Rng(seed, at)
        row = {"before": place, "drawn": rng.uniform("u", 2, dtype=torch.float64), "fixed": (weight.T * 2)[0]}
        moved = torch.tanh(weight.T @ place + shift.exp()) + 0.1 * rng.uniform("noise", 3).double()
        return {"place": moved, "count": count + 1}, row

    return vmap(one)(carry["place"], carry["count"], weight, shift, seed)


def arguments():
    torch.manual_seed(0)
    carry = {"place": torch.randn(2, 3).double(), "count": torch.zeros(2, dtype=torch.int64)}
    return carry, torch.randn(2, 3, 3).double(), torch.randn(2, 3).double(), SEEDS


def plain(carry, *shared, steps):
    rows = []
    for at in steps:
        carry, row = body(carry, *shared, at)
        rows.append(row)
    return carry, {k: torch.stack([row[k] for row in rows], 1) for k in rows[0]}


@pytest.mark.parametrize(("first", "times"), [(0, 1), (5, 7), (1 << 24, BLOCK + 3)])
def test_a_loop_is_the_steps_one_by_one(first, times):
    carry, *shared = arguments()
    steps = torch.arange(first, first + times).unbind()
    expected, rows = plain(carry, *shared, steps=steps)
    traced = Traced(body, (carry, *shared, steps[0]), donate=1, loops=True)
    for _ in range(2):  # the second time with what the first one left behind
        found, seen = traced.loop({k: v.clone() for k, v in carry.items()}, tuple(shared), steps, first)
        assert all(torch.equal(found[k], expected[k]) for k in expected)
        assert all(torch.equal(seen[k], rows[k]) for k in rows)


def test_who_looks_on_sees_each_step_and_changes_nothing():
    carry, *shared = arguments()
    steps, seen = torch.arange(4).unbind(), []
    traced = Traced(body, (carry, *shared, steps[0]), donate=1, loops=True)
    found, _ = traced.loop(carry, tuple(shared), steps, 0, lambda one: seen.append(one["place"].clone()))
    expected, rows = plain(*arguments(), steps=steps)
    assert torch.equal(torch.stack(seen[:-1], 1), rows["before"][:, 1:])
    assert torch.equal(seen[-1], expected["place"])
    assert torch.equal(found["place"], expected["place"])


def test_what_is_the_same_at_every_step_is_not_in_the_loop():
    carry, *shared = arguments()
    traced = Traced(body, (carry, *shared, torch.tensor(0)), donate=1, loops=True)
    within = " ".join(str(node.target) for node in traced.graph.nodes)
    assert "exp" not in within
    assert "transpose" not in within
    # Of a draw only its use is left: shifting, converting and scaling is done for many steps at once.
    assert "__rshift__" not in within
    assert all(len(draw.then) >= 3 for draw in traced.draws)


def test_the_memory_of_adam_stays_where_it_is():
    """A step that returns what it was given costs no new dictionaries, and no memory."""
    rule, params = Adam(), {"a": torch.randn(2, 3, 4), "b": torch.randn(2, 5)}
    memory = vmap(rule.init)(params)
    memory["count"] = memory["count"].clone()

    def step(state, grads, lr):
        return vmap(lambda p, m, g: rule.update(p, g, m, lr, None))(*state, grads)

    lr = torch.tensor(0.1, dtype=torch.float64)
    traced = Traced(step, ((params, memory), params, lr), donate=1)
    state = (params, memory)
    grads = {k: torch.ones_like(v) for k, v in params.items()}
    assert traced(state, grads, lr) is state
    assert memory["count"].tolist() == [1, 1]
    assert torch.allclose(memory["second"]["a"], torch.full((2, 3, 4), 0.001))


def test_a_square_that_is_read_later_keeps_its_memory():
    """A chain of operations is done in place only where each is read by the next alone."""

    def step(state):
        half = state["a"] * 0.5
        return {"a": half + 1.0, "b": state["b"] + half}

    traced = Traced(step, ({"a": torch.zeros(2), "b": torch.zeros(2)},), donate=1)
    state = traced({"a": torch.tensor([2.0, 4.0]), "b": torch.zeros(2)})
    assert state["a"].tolist() == [2.0, 3.0]
    assert state["b"].tolist() == [1.0, 2.0]
