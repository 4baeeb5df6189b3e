"""Merging rules as functions of weights: against PEFT, by hand, and what holds for all of them."""

import dataclasses

import pytest
import torch

import perdure.strategies.merging as family
from perdure import PerdureError
from perdure.core.random import Rng
from perdure.strategies.merging import (
    DARE,
    MERGING,
    OPCM,
    TIES,
    Average,
    Consensus,
    MagMax,
    Rule,
    Streaming,
    TallMasks,
    TaskArithmetic,
)

NAMES = list(MERGING)
# With which a model alone is found again, where a rule takes such numbers.
WHOLE = {
    "dare": {"drop": 0.0},
    "ties": {"density": 1.0},
    "doge": {"density": 1.0},
    "grafting": {"density": 1.0},
}
ORDERED = {"dare", "opcm"}  # what they give depends on the order, or on draws in this order


def rng(seed=0):
    zero = torch.zeros((), dtype=torch.int64)
    return Rng(zero + seed, zero)


def weights(tasks=3, seed=0, width=7):
    """A common start and models near it: a matrix, a vector, a filter."""
    source = torch.Generator().manual_seed(seed)
    shapes = {"a": (4, width), "b": (5,), "c": (3, 2, 2, 2)}
    base = {k: torch.randn(s, generator=source, dtype=torch.float64) for k, s in shapes.items()}
    moves = {k: torch.randn(tasks, *s, generator=source, dtype=torch.float64) for k, s in shapes.items()}
    return base, {k: base[k] + moves[k] for k in base}


def entire(rule, **changes):
    """The rule at scale 1, with nothing left out."""
    kind = MERGING.maker(rule)
    fields = {f.name for f in dataclasses.fields(kind)}
    ones = {name: 1.0 for name in ("scale", "initial") if name in fields}
    return kind(**{**ones, **WHOLE.get(rule, {}), **changes})


def same(one, other, tolerance=1e-9):
    return one.keys() == other.keys() and all(
        torch.allclose(one[k], other[k], rtol=tolerance, atol=tolerance) for k in one
    )


# ---- what holds for all -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_model_merges_to_itself(name):
    base, tasks = weights(1)
    merged = entire(name).merge(base, tasks, rng())
    assert same(merged, tasks if entire(name).per_task else {k: v[0] for k, v in tasks.items()})


@pytest.mark.parametrize("name", NAMES)
def test_models_that_never_moved_merge_to_the_start(name):
    base, _ = weights()
    still = {k: torch.stack([v] * 3) for k, v in base.items()}
    merged = MERGING.get(name).merge(base, still, rng())
    assert same(merged, still if MERGING.get(name).per_task else base)


@pytest.mark.parametrize("name", sorted(set(MERGING) - ORDERED))
def test_the_order_of_models_does_not_matter(name):
    base, tasks = weights(4)
    order = torch.tensor([2, 0, 3, 1])
    rule = MERGING.get(name)
    turned = rule.merge(base, {k: v[order] for k, v in tasks.items()}, rng())
    merged = rule.merge(base, tasks, rng())
    assert same(turned, {k: v[order] for k, v in merged.items()} if rule.per_task else merged)


@pytest.mark.parametrize("name", NAMES)
def test_task_vectors_twice_as_long_merge_to_one_twice_as_long(name):
    base, tasks = weights()
    longer = {k: base[k] + 2 * (v - base[k]) for k, v in tasks.items()}
    one, two = (MERGING.get(name).merge(base, found, rng()) for found in (tasks, longer))
    assert same({k: two[k] - v for k, v in base.items()}, {k: 2 * (one[k] - v) for k, v in base.items()})


@pytest.mark.parametrize("name", NAMES)
def test_rules_leave_their_arguments_alone_and_map_over_replicas(name):
    rule, seeds = MERGING.get(name), torch.tensor([3, 4])
    each = [weights(seed=s) for s in (0, 1)]
    base, tasks = ({k: torch.stack([one[i][k] for one in each]) for k in each[0][i]} for i in (0, 1))
    before = {k: v.clone() for k, v in tasks.items()}
    zero = torch.zeros((), dtype=torch.int64)
    mapped = torch.func.vmap(lambda b, t, s: rule.merge(b, t, Rng(s, zero)))(base, tasks, seeds)
    assert all(torch.equal(tasks[k], v) for k, v in before.items())
    for i, seed in enumerate(seeds):
        alone = rule.merge(*each[i], Rng(seed, zero))
        assert same(alone, {k: v[i] for k, v in mapped.items()})


STREAMING = [name for name in MERGING if isinstance(MERGING.get(name), Streaming)]


@pytest.mark.parametrize("name", STREAMING)
def test_one_after_the_other_is_all_at_once(name):
    base, tasks = weights(4)
    rule = MERGING.get(name)
    folded = Streaming.merge(rule, base, tasks, rng())
    assert same(folded, rule.merge(base, tasks, rng()))
    state = rule.begin(base)
    assert same(rule.read(base, state), base)


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_reads_as_the_spec_that_builds_it(name):
    rule = MERGING.get(name)
    assert repr(rule) == rule.name == name
    assert getattr(family, type(rule).__name__) is type(rule)
    for f in dataclasses.fields(rule):
        other = {"part": "train", "by": "task"}.get(f.name, 1 if isinstance(f.default, int) else 0.25)
        changed = dataclasses.replace(rule, **{f.name: other})
        assert MERGING.get(repr(changed)) == changed


# ---- against PEFT -------------------------------------------------------------------------------------


def rows(tasks=4, n=50):
    base = {"w": torch.zeros(n), "v": torch.zeros(5, 2)}
    bank = torch.randn(tasks, n + 10, generator=torch.Generator().manual_seed(0))
    return base, {"w": bank[:, :n], "v": bank[:, n:].reshape(tasks, 5, 2)}, bank


def joined(merged):
    return torch.cat([v.flatten() for v in merged.values()])


@pytest.mark.parametrize("density", [0.1, 0.3, 0.9])
def test_ties_is_that_of_peft(density):
    from peft.utils.merge_utils import ties

    base, tasks, bank = rows()
    merged = TIES(density=density, scale=0.7).merge(base, tasks)
    assert torch.allclose(joined(merged), 0.7 * ties(list(bank), torch.ones(4), density))


def test_task_arithmetic_is_that_of_peft():
    from peft.utils.merge_utils import task_arithmetic

    base, tasks, bank = rows()
    merged = TaskArithmetic(scale=0.3).merge(base, tasks)
    assert torch.allclose(joined(merged), task_arithmetic(list(bank), torch.full((4,), 0.3)), atol=1e-6)


def test_dare_is_that_of_peft_in_the_mean_and_in_its_values():
    from peft.utils.merge_utils import dare_linear

    base, tasks, bank = rows(tasks=1, n=20_000)
    torch.manual_seed(0)
    theirs = dare_linear(list(bank), torch.tensor([0.3]), 0.25)
    ours = joined(DARE(drop=0.75, scale=0.3).merge(base, tasks, rng()))
    for found in (ours, theirs):
        kept = found != 0
        assert torch.allclose(found[kept], 0.3 * bank[0][kept] / 0.25)
        assert 0.24 < kept.float().mean() < 0.26


# ---- by hand ------------------------------------------------------------------------------------------


def of(*moves):
    """A start of ones and the models that moved from it by so much."""
    moves = torch.tensor(moves, dtype=torch.float64)
    return {"w": torch.ones(moves.shape[1:], dtype=torch.float64)}, {"w": 1 + moves}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Average(), [1.0, -1.5, -0.5]),
        (TaskArithmetic(0.5), [1.0, -1.5, -0.5]),
        (TIES(1.0), [3.0, -1.5, -2.0]),
        (MagMax(), [3.0, -2.0, -2.0]),
        # |tau_t| >= threshold |the other|, both ways round: 1 against 3, 1 against 2, 1 against 2.
        (Consensus(0.5, 2, 1.0), [0.0, -3.0, -1.0]),
        (Consensus(0.3, 2, 1.0), [2.0, -3.0, -1.0]),
        (Consensus(0.5, 1, 1.0), [2.0, -3.0, -1.0]),
    ],
)
def test_two_models_of_three_weights(rule, expected):
    base, tasks = of([3.0, -2.0, -2.0], [-1.0, -1.0, 1.0])
    assert torch.allclose(rule.merge(base, tasks)["w"] - 1, torch.tensor(expected).double())


def test_tall_masks_keep_of_the_sum_what_is_a_tasks_own():
    base, tasks = of([3.0, -2.0, -2.0], [-1.0, -1.0, 1.0])
    # Of (2, -3, -1): at 0.4, a third of the other is too little, a half is enough.
    merged = TallMasks(0.4).merge(base, tasks)["w"] - 1
    assert merged.tolist() == [[2.0, -3.0, -1.0], [0.0, -3.0, -1.0]]


def test_opcm_takes_out_the_block_of_the_largest_singular_values_and_the_diagonal():
    base = {"w": torch.zeros(3, 3, dtype=torch.float64)}
    first = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    second = torch.arange(1.0, 10).view(3, 3).double()
    merged = OPCM(alpha=0.9).merge(base, {"w": torch.stack([first, second])})["w"]
    # 3 + 2 of 6 are at most 0.9: the upper two by two block goes, and what is left of the diagonal.
    total = first + torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 6.0], [7.0, 8.0, 0.0]]).double()
    length = (first.norm() + second.norm()) / 2
    assert torch.allclose(merged, total * length / total.norm())


def test_opcm_is_as_far_from_the_start_as_the_models_are_on_average():
    base, tasks = weights(5)
    merged = OPCM().merge(base, tasks)
    move = joined({k: merged[k] - v for k, v in base.items()}).norm()
    each = [joined({k: v[t] - base[k] for k, v in tasks.items()}).norm() for t in range(5)]
    assert torch.isclose(move, torch.stack(each).mean())


def test_entries_as_large_as_the_last_one_kept_are_kept_whatever_the_rounding():
    base, tasks = of([1.0, -1.0 - 1e-12, 0.5, 0.1])
    assert (TIES(0.25).merge(base, tasks)["w"] - 1)[:3].abs().round(decimals=6).tolist() == [1.0, 1.0, 0.0]


# ---- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("ties(density=0)", r"density must lie in \(0, 1\]; found 0"),
        ("ties(scale=-1)", "scale must be at least 0; found -1"),
        ("dare(drop=1)", r"drop must lie in \[0, 1\); found 1"),
        ("opcm(alpha=1)", r"alpha must lie in \[0, 1\); found 1"),
        ("consensus(agree=0)", "agree must be a whole number of at least 1; found 0"),
        ("tall-masks(threshold=x)", "tall-masks: threshold must be a number; found 'x'"),
        ("adamerging(lr=0)", "lr must be positive; found 0"),
        ("adamerging(by=head)", "by must be 'layer' or 'task'; found 'head'"),
        ("atlas(steps=0)", "steps must be a whole number of at least 1; found 0"),
        ("atlas(part=test)", "part must be 'val' or 'train'; found 'test'"),
        ("tie", "unknown merging rule 'tie'"),
    ],
)
def test_bad_numbers_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        MERGING.get(spec)


def test_coefficients_are_one_for_each_task_and_parameter_or_one_for_each_task():
    base, tasks = weights(2)
    found = {"": torch.tensor([0.5, -1.0], dtype=torch.float64)}
    one = MERGING.get("adamerging(by=task)").build(base, tasks, found)
    two = MERGING.get("atlas").build(base, tasks, dict.fromkeys(base, found[""]))
    expected = {k: v + 0.5 * (tasks[k][0] - v) - (tasks[k][1] - v) for k, v in base.items()}
    assert same(one, expected)
    assert same(two, expected)


def test_dare_needs_random_numbers():
    with pytest.raises(PerdureError, match="it needs random numbers, `rng`; found None"):
        DARE().merge(*weights())


def test_a_rule_that_says_nothing_says_so():
    with pytest.raises(PerdureError, match="Rule does not say how to merge"):
        Rule().merge(*weights())
