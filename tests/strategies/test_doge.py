"""DOGE: a shift of all task vectors that is learned from them alone."""

import pytest
import torch

from perdure import PerdureError, check_strategy
from perdure.strategies import get
from perdure.strategies.merging import DOGE, MERGING, TaskArithmetic
from perdure.strategies.merging.doge import balance, common, distance, gradient


def vectors(tasks=3, rows=8, columns=12, seed=0):
    """Task vectors that share the direction of their first output."""
    source = torch.Generator().manual_seed(seed)
    found = torch.randn(tasks, rows, columns, generator=source, dtype=torch.float64)
    found[:, 0] += 3.0
    return found


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=doge(steps=3))"), level=level)


def test_two_models_of_one_weight():
    # The sum of the squares (tau - 1)^2 + (2 tau - 4)^2 is smallest at 9/5, wherever the shift begins.
    tasks = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64).view(2, 1, 1)}
    base = {"w": torch.zeros(1, 1, dtype=torch.float64)}
    merged = DOGE(scale=1.0, density=1.0, subspace=0.0, steps=1000).merge(base, tasks)["w"]
    assert merged.item() == pytest.approx(1.8, abs=1e-6)
    kept = DOGE(scale=1.0, density=0.5, subspace=1.0).merge(base, tasks)["w"]
    # All of the outputs' space is common: no shift, and coefficients of 1.5 and 0.75.
    assert kept.item() == pytest.approx(3.0)


def test_the_gradient_is_that_of_the_squared_distances():
    own = vectors()
    weights, shift = balance(own), torch.full_like(own[0], 0.1).requires_grad_()
    merged = (weights.view(-1, 1, 1) * (own + shift)).sum(0)
    loss = sum(((tau * (merged - tau)).sum(1) ** 2).sum() for tau in own)
    (expected,) = torch.autograd.grad(loss, shift)
    assert torch.allclose(gradient(own, shift.detach(), weights), expected)


def test_the_shift_lowers_the_distances_and_leaves_what_tasks_share():
    own = vectors()
    weights = 0.3 * balance(own)
    shift = DOGE().shifts({"w": own}, {"w": weights})["w"]
    basis = common(own, 1 / 6)
    assert basis.shape == (8, 1)
    assert basis[0].abs() > 0.9
    assert (basis.mT @ shift).abs().max() < 1e-12
    before, after = (distance(own, s, weights)[:, 1:].square().sum() for s in (0 * shift, shift))
    assert after < 0.1 * before


def test_without_a_shift_equally_long_vectors_are_added():
    own = vectors()
    tasks = {"w": own / own.flatten(1).norm(dim=1).view(-1, 1, 1), "b": torch.eye(3, dtype=torch.float64)}
    base = {k: torch.zeros_like(v[0]) for k, v in tasks.items()}
    merged = DOGE(density=1.0, subspace=1.0).merge(base, tasks)
    added = TaskArithmetic().merge(base, tasks)
    # The three tasks' two main directions each are six of the eight: along them the sum stays.
    basis = common(tasks["w"], 1.0)
    assert basis.norm(dim=0).count_nonzero() == 6
    assert torch.allclose(basis.mT @ merged["w"], basis.mT @ added["w"])
    assert torch.allclose(merged["b"], added["b"])


def test_of_a_task_alone_the_largest_entries_are_kept():
    base, tasks = {"w": torch.zeros(2, 2)}, {"w": torch.tensor([[[4.0, 1.0], [-2.0, 3.0]]])}
    assert DOGE(scale=0.5, density=0.5).merge(base, tasks)["w"].tolist() == [[2.0, 0.0], [0.0, 1.5]]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("doge(density=0)", r"density must lie in \(0, 1\]; found 0"),
        ("doge(subspace=2)", r"subspace must lie in \[0, 1\]; found 2"),
        ("doge(steps=0)", "steps must be a whole number of at least 1; found 0"),
        ("doge(lr=0)", "lr must be positive; found 0"),
    ],
)
def test_bad_numbers_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        MERGING.get(spec)
