"""MAP: quadratics of the tasks' losses in the coefficients, and their front."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.strategies import Merge, get
from perdure.strategies.merging import MAP, MERGING
from perdure.strategies.merging.map import features, lattice, lowest, numbers, quadratics
from perdure.testing import tiny_stream


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=map(steps=10, points=3))"), level=level)


def linear(shape, outputs):
    return nn.Linear(shape[0], outputs)


def test_where_losses_are_quadratic_it_finds_the_best_coefficients(walk):
    # The squared error of a linear model is a quadratic of its weights, and so of the coefficients.
    stream = tiny_stream(tasks=2, kind="real")
    rule = MAP(steps=40, points=3, preference=(1, 3), low=-1.0, high=2.0)
    *_, (_, _, after, state, net) = walk(Merge(rule), stream, linear, batch=64)
    (state,) = state.values()
    base, bank = state["start"], state["memory"]

    def losses(c):
        merged = {k: base[k] + torch.tensordot(c, bank[k] - base[k], 1) for k in bank}
        found = []
        for t, task in enumerate(stream):
            output = net.eval()(merged, task.val.x.double(), torch.full((len(task.val),), t))
            found.append((output.squeeze(-1) - task.val.y.double().view(-1)).square().mean())
        return torch.stack(found)

    front = rule.report(state["fit"])
    assert front["preferences"].tolist() == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    scale = losses(front["coefficients"][1]) / front["losses"][1]
    assert torch.allclose(scale, scale[0].expand(2), rtol=1e-2)  # mean or half of the squares
    side = torch.linspace(-1, 2, 61, dtype=torch.float64)
    grid = torch.func.vmap(losses)(torch.cartesian_prod(side, side))
    asked = (torch.tensor([0.25, 0.75]).double(), state["fit"]["values"][""])
    for preference, c in [*zip(front["preferences"], front["coefficients"], strict=True), asked]:
        assert losses(c) @ preference <= (grid @ preference).min() + 1e-3
    c = state["fit"]["values"][""]
    for k, b in bank.items():
        assert torch.allclose(after[k], base[k] + torch.tensordot(c, b - base[k], 1))


def test_quadratics_by_hand():
    # 2 - 3 u + v^2 and nothing, from points at which the terms are known.
    at = 2 * torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    rows = features(at)
    assert features(torch.tensor([2.0, 3.0])).tolist() == [1.0, 2.0, 3.0, 4.0, 6.0, 9.0]
    assert rows.shape[1] == numbers(2) == 6
    value = 2 - 3 * at[:, 0] + at[:, 1] ** 2
    products, sums = (
        torch.stack([rows.mT @ rows, torch.zeros(6, 6)]),
        torch.stack([rows.mT @ value, 0 * rows[0]]),
    )
    found = quadratics(products, sums, torch.tensor([20.0, 0.0]).double())
    assert torch.allclose(found[0], torch.tensor([2.0, -3, 0, 0, 0, 1]).double(), atol=0.01)
    assert found[1].tolist() == [0.0] * 6
    terms = torch.tensor([[0.0, -3, 0, 0, 0, 1], [0.0, 0, -1, 1, 0, 1]]).double()
    preferences = torch.eye(2, dtype=torch.float64)
    # -3 u + v^2 is lowest at (1, 0), -v + u^2 + v^2 at (0, 1/2).
    expected = torch.tensor([[1.0, 0.0], [0.0, 0.5]]).double()
    assert torch.allclose(lowest(preferences, terms, torch.full((2, 2), 0.2).double()), expected, atol=1e-6)


def test_the_lattice_of_preferences():
    assert lattice(1, 5) == [[1.0]]
    found = lattice(3, 10)
    assert len(found) == 10
    assert all(sum(p) == pytest.approx(1.0) for p in found)
    assert lattice(4, 2) == [[float(i == t) for i in range(4)] for t in (3, 2, 1, 0)]


def test_the_front_is_in_the_report():
    found = compare(
        tiny_stream("task", tasks=2), ["merge(rule=map(steps=6, points=2))"], seeds=2, epochs=1, quiet=True
    )
    (extras,) = found.extras.values()
    front = {k: torch.tensor(v) for k, v in extras["report"]["merge"].items()}
    assert {k: v.shape for k, v in front.items()} == dict.fromkeys(
        ("preferences", "coefficients", "losses"), torch.Size([2, 2, 2])
    )
    assert front["losses"].isfinite().all()


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("map(preference=[1, 2, 3])", "preference must have a number for each of the 2 tasks; found"),
        ("map(steps=5)", "map needs at least 6 steps to fit quadratics of 2 coefficients; found 5"),
    ],
)
def test_what_does_not_fit_the_stream_is_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        MERGING.get(spec).check(tiny_stream(tasks=2))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("map(preference=[0, 0])", "preference must be numbers of at least 0, not all 0; found"),
        ("map(low=1)", r"high must .*; found 1"),
        ("map(points=0)", "points must be a whole number of at least 1; found 0"),
        ("map(part=test)", "part must be 'val' or 'train'; found 'test'"),
    ],
)
def test_bad_numbers_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        MERGING.get(spec)
