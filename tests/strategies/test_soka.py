"""SoKA: Kronecker products of a weight, the rank by hand, what moves, and what it refuses."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.adapters import kronecker
from perdure.strategies import SoKA, get
from perdure.testing import tiny_model, tiny_stream

STREAM = tiny_stream("task", 2)
SHAPES = [(6, 5), (8, 6), (12, 1), (1, 4), (7, 5), (16, 9)]
KEYS = [f"1.parametrizations.weight.{k}" for k in ("original", "0.left", "0.right")]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_products_rebuild_the_weight(shape):
    torch.manual_seed(0)
    weight = torch.randn(shape).double()
    left, right, values = kronecker.components(weight, len(weight.view(-1)))
    assert len(left) == len(right) == len(values)
    products = [torch.kron(a, b) for a, b in zip(left, right, strict=True)]
    torch.testing.assert_close(sum(products), weight)
    torch.testing.assert_close(kronecker.summed(left, right), weight)
    # Products are orthogonal, and as long as their singular value: the first k are the nearest sum of k.
    flat = torch.stack(products).flatten(1)
    torch.testing.assert_close(flat @ flat.mT, torch.diag(values**2))


def test_a_single_product_by_hand():
    # (2, -1) (x) [[1], [2]] beside each other: blocks 2 (1, 2), -1 (1, 2), of norm sqrt(5) sqrt(5).
    weight = torch.kron(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0], [2.0]])).double()
    assert weight.tolist() == [[2.0, -1.0], [4.0, -2.0]]
    assert kronecker.rearranged(weight, (1, 2), (2, 1)).tolist() == [[2.0, 4.0], [-1.0, -2.0]]
    left, right, values = kronecker.components(weight, 1)
    assert values.tolist() == pytest.approx([5.0, 0.0])
    assert left.abs().flatten().tolist() == pytest.approx([2.0, 1.0])
    assert right.abs().flatten().tolist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "energy", "elbow", "rank"),
    [
        ([3.0, 1.0, 0.0], 0.9, False, 1),  # 9 of 10
        ([3.0, 1.0, 0.0], 0.91, False, 2),
        ([3.0, 1.0, 0.0], 1.0, False, 2),
        ([10.0, 9.0, 8.0, 1.0, 0.9], 1.0, True, 3),
        ([10.0, 9.0, 8.0, 1.0, 0.9], 0.4, True, 1),  # 100 of 246.81
        ([10.0, 9.0, 8.0, 1.0, 0.9], 0.5, True, 2),
        ([4.0, 3.0, 2.0, 1.0], 1.0, True, 4),  # straight: no elbow
        ([1.0, 1.0, 1.0], 1.0, True, 3),
        ([2.0, 1.0], 1.0, True, 2),
        ([0.0, 0.0, 0.0], 0.9, True, 1),
    ],
)
def test_the_rank_by_hand(values, energy, elbow, rank):
    assert kronecker.rank_of(torch.tensor(values).double(), energy, elbow).item() == rank


def test_adapters_begin_with_the_models_own_weights(walk):
    moments = {(m, p.name): (v, s) for m, p, v, s, *_ in walk("soka(energy=0.7)", STREAM, tiny_model)}
    base, left, right = KEYS
    before, (after, state) = moments["start", "adapt"][0], moments["begin", "adapt"]
    torch.testing.assert_close(
        after[base] + sum(torch.kron(a, b) for a, b in zip(after[left], after[right], strict=True)),
        before[base],
    )
    expected = kronecker.components(before[base], 3)
    rank = state["soka"]["1"].item()
    # Singular values are 1.18, 0.88 and 0.52: no elbow, and 0.57, 0.89 and 1 of the energy.
    assert rank == kronecker.rank_of(expected[2], 0.7, True).item() == 2
    torch.testing.assert_close(after[left][:rank], expected[0][:rank])
    # What is left out stays zero, whatever the optimiser does.
    last = moments["end", "adapt"][0]
    for name in (left, right):
        assert not after[name][rank:].any()
        assert not last[name][rank:].any()


def test_what_moves_in_each_phase(walk):
    moments = {(m, p.name): v for m, p, v, *_ in walk("soka(elbow=false)", STREAM, tiny_model)}

    def moved(phase):
        before, after = moments["begin", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    head = {"3.weight", "3.bias"}
    assert moved("learn") == head | {KEYS[0], "1.bias"}
    assert moved("adapt") == head | {*KEYS[1:]}


def test_a_model_that_is_not_warmed_is_decomposed_as_it_came(walk):
    moments = [(m, p, v) for m, p, v, *_ in walk("soka(warm=false, elbow=false)", STREAM, tiny_model)]
    assert {p.name for _, p, _ in moments} == {"adapt"}
    (_, _, start), (_, _, begun), (_, _, end) = moments
    # All that a weight [2 * 3, 5 * 1] has, though fewer than 8.
    assert begun[KEYS[1]].shape[0] == 3
    assert begun[KEYS[1]].any()
    whole = begun[KEYS[0]] + kronecker.summed(begun[KEYS[1]], begun[KEYS[2]])
    torch.testing.assert_close(whole, start[KEYS[0]])
    assert torch.equal(end[KEYS[0]], begun[KEYS[0]])
    assert torch.equal(end["1.bias"], start["1.bias"])


def filtering():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 4, (1, 2)), nn.Flatten(), nn.Linear(16, 4))


def test_replicas_choose_their_own_ranks_and_results_keep_them():
    results = compare(
        STREAM, ["soka(most=3, energy=0.7)"], model=filtering, seeds=3, epochs=2, batch_size=4, quiet=True
    )
    (name,) = results.strategies
    (kept,) = results.extras[name]["report"].values()
    assert [*kept] == ["rank of 1"]
    assert all(1 <= rank <= 3 for rank in kept["rank of 1"])
    assert len(kept["rank of 1"]) == 3


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(self.second(self.first(x)))


def test_weights_that_layers_share_are_refused():
    with pytest.raises(PerdureError, match=r"need plain weights; first.weight is shared or computed"):
        SoKA().extend(Tied(), STREAM)


@pytest.mark.parametrize("argument", ["most=0", "energy=0", "energy=1.5", "elbow=2", "targets='('"])
def test_arguments_are_checked(argument):
    with pytest.raises(PerdureError, match=argument.partition("=")[0]):
        get(f"soka({argument})")
