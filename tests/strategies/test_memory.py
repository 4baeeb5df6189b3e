import pytest
import torch
from scipy.stats import chi2
from torch import nn
from torch.func import vmap

from perdure import PerdureError
from perdure.core.batch import Batch
from perdure.core.checks import check_whole
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios.contract.objective import Regression
from perdure.strategies.parts.memory import balance, by_class, by_task, check_policy, draw, join, offer


def empty(capacity):
    names = ("x", "y", "task", "key")
    memory = {k: torch.zeros(capacity, dtype=torch.int64) for k in names}
    return {
        **memory,
        "x": torch.zeros(capacity, 1, dtype=torch.float64),
        "filled": torch.zeros(capacity, dtype=torch.bool),
        "seen": torch.zeros((), dtype=torch.int64),
    }


def rows(numbers, y=None, task=0):
    """Samples that can be told apart: sample i holds the number i."""
    numbers = torch.as_tensor(numbers)
    return {
        "x": numbers.double().unsqueeze(1),
        "y": numbers % 3 if y is None else torch.as_tensor(y),
        "task": torch.full_like(numbers, task),
    }


def rng(seed, step):
    return Rng(torch.as_tensor(seed), torch.tensor(step))


def one_by_one(memory, seen, bits, samples, weight):
    """Vitter's algorithm R, in the words of the paper: ``memory`` is a list."""
    for word, sample, real in zip(bits.tolist(), samples, weight.tolist(), strict=True):
        if not real:
            continue
        seen += 1
        place = seen - 1 if seen <= len(memory) else word * seen >> 32
        if place < len(memory):
            memory[place] = sample
    return seen


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("capacity", [1, 3, 5, 30])
def test_offering_a_batch_is_offering_its_samples_one_by_one(seed, capacity):
    memory, slots, seen = empty(capacity), [0.0] * capacity, 0
    for step in range(4):
        numbers = torch.arange(8) + 8 * step + 1
        weight = (torch.arange(8) != step).double()
        numbers = torch.where(weight > 0, numbers, -1)
        memory = offer(memory, rng(seed, step), rows(numbers), weight)
        seen = one_by_one(slots, seen, rng(seed, step).bits("slot", 8), numbers.tolist(), weight)
        assert memory["x"].flatten().tolist() == slots
        assert memory["y"][memory["filled"]].tolist() == [int(s) % 3 for s in slots[:seen]]
        assert memory["filled"].sum() == min(seen, capacity)
    assert memory["seen"] == seen == 28


def uneven(counts, trials, share):
    """Probability of counts at least as uneven as these if each sample is held with probability share."""
    n = len(counts)
    distance = ((counts - trials * share) ** 2).sum() / (trials * share * (1 - share)) * (n - 1) / n
    return chi2.sf(float(distance), n - 1)


def test_reservoir_holds_every_sample_with_equal_probability():
    def run(seed):
        memory = empty(10)
        for step in range(5):
            memory = offer(memory, rng(seed, step), rows(torch.arange(8) + 8 * step), torch.ones(8))
        return memory["x"].flatten()

    held = vmap(run)(torch.arange(3000))
    counts = torch.bincount(held.flatten().long(), minlength=40)
    assert all(len(set(one.tolist())) == 10 for one in held)
    assert uneven(counts, 3000, 10 / 40) > 0.01


def test_shares_are_equal_and_the_first_groups_take_the_rest():
    memory, new = balance(empty(7), rng(0, 0), rows(torch.arange(30)), by_class)
    assert torch.bincount(memory["y"]).tolist() == [3, 2, 2]
    assert new.all()
    assert memory["filled"].all()
    assert (memory["x"].flatten().long() % 3 == memory["y"]).all()


def test_older_groups_shrink_to_a_part_of_what_they_held():
    first, _ = balance(empty(9), rng(0, 0), rows(torch.arange(30), y=torch.zeros(30).long()), by_class)
    assert first["filled"].sum() == 9
    later = rows(torch.arange(30, 60), y=1 + torch.arange(30) % 2)
    second, new = balance(first, rng(0, 1), later, by_class)
    assert torch.bincount(second["y"]).tolist() == [3, 3, 3]
    old = set(second["x"][~new].flatten().tolist())
    assert old < set(first["x"].flatten().tolist())
    assert len(old) == 3


def test_a_small_group_leaves_its_slots_free():
    memory, _ = balance(empty(6), rng(0, 0), rows(torch.arange(5), y=[0, 1, 1, 1, 1]), by_class)
    assert memory["filled"].tolist() == [True] * 4 + [False] * 2
    assert torch.bincount(memory["y"][:4]).tolist() == [1, 3]


def test_a_fixed_share_holds_for_every_task():
    memory = empty(6)
    for t in range(3):
        memory, _ = balance(memory, rng(0, t), rows(torch.arange(9) + 9 * t, task=t), by_task, share=2)
        assert memory["filled"].sum() == 2 * (t + 1)
    assert torch.bincount(memory["task"]).tolist() == [2, 2, 2]


def test_a_class_seen_in_two_tasks_is_held_uniformly_over_both():
    zero = torch.zeros(10, dtype=torch.int64)

    def run(seed):
        memory, _ = balance(empty(5), rng(seed, 0), rows(torch.arange(10), y=zero), by_class)
        return balance(memory, rng(seed, 1), rows(torch.arange(10, 20), y=zero), by_class)[0]["x"].flatten()

    held = vmap(run)(torch.arange(3000))
    assert uneven(torch.bincount(held.flatten().long(), minlength=20), 3000, 5 / 20) > 0.01


def test_drawing_is_uniform_over_what_is_filled():
    memory, _ = balance(empty(8), rng(0, 0), rows(torch.arange(5), y=[0, 0, 0, 1, 1]), by_class)
    drawn, weight = draw(memory, rng(3, 0), "x", 6000)
    counts = torch.bincount(drawn["x"].flatten().long(), minlength=5)
    assert set(drawn) == {"x", "y", "task"}
    assert weight.eq(1).all()
    assert uneven(counts, 6000, 1 / 5) > 0.01
    assert draw(empty(8), rng(0, 0), "x", 3)[1].tolist() == [0, 0, 0]


def batch(n, scope=""):
    x = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    zeros = torch.zeros(n, dtype=torch.int64)
    one = torch.ones(n, dtype=torch.float64)
    return Batch(
        {"x": x, "y": zeros.double(), "task": zeros, "weight": one}, torch.tensor(0), rng(0, 0).scoped(scope)
    )


def net(module):
    return Net(module, dict(module.named_buffers()), None, Regression(), training=True)


def test_every_strategy_finds_the_samples_it_joined_and_those_that_came_in():
    start = batch(3, "a")
    joined = start.join({k: v[:2] for k, v in {**start.rows, "x": start.x + 10}.items()})
    other = Batch(**{**vars(joined), "rng": rng(0, 0).scoped("b")})
    both = other.join({k: v[:4] for k, v in {**joined.rows, "x": joined.x + 20}.items()})
    assert (start.fresh, joined.fresh, both.fresh, len(both)) == (3, 3, 3, 9)
    assert both.x[both.own].flatten().tolist() == [20, 21, 22, 30]
    assert both.x[Batch(**{**vars(both), "rng": start.rng}).own].flatten().tolist() == [10, 11]
    assert len(start.x[start.own]) == 0


def test_an_empty_memory_does_not_reach_the_statistics_of_batch_norm():
    drawn, weight = draw(empty(4), rng(0, 0), "x", 5)
    plain = join(net(nn.Linear(1, 1)), batch(3), drawn, weight)
    normed = join(net(nn.BatchNorm1d(1)), batch(3), drawn, weight)
    assert plain.x[3:].flatten().tolist() == [0] * 5
    assert normed.x[3:].flatten().tolist() == [0, 1, 2, 0, 1]
    assert normed.weight.tolist() == [1] * 3 + [0] * 5


def test_refusals_say_what_was_found():
    with pytest.raises(PerdureError, match=r"capacity must be a whole number of at least 1; found -5"):
        check_whole("capacity", -5)
    with pytest.raises(PerdureError, match=r"'reservoir', 'class', 'task'; found 'fifo'"):
        check_policy("fifo")
