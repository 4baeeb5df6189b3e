"""Align-LoRA: the discrepancy by hand and pair by pair, what it does to a model, and what is refused."""

from itertools import combinations

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.strategies import get
from perdure.strategies.adapters.align_lora import discrepancy
from perdure.testing import tiny_model, tiny_stream

STREAM = tiny_stream("domain", 2)


def test_the_discrepancy_by_hand():
    # Of rows 0 and 1, two distances of four are 1: m = 1/2, and k(0, 1) = exp(-1 / (2 * 2 * 1/2)).
    rows, task = torch.tensor([[0.0], [1.0], [9.0]]).double(), torch.tensor([0, 1, 1])
    weight = torch.tensor([1.0, 1.0, 0.0]).double()
    expected = 2 - 2 * torch.tensor(-0.5).exp().item()
    assert discrepancy(rows, task, weight, 2.0).item() == pytest.approx(expected)
    # A smaller map is no nearer; rows that are the same are; a task alone has no other.
    assert discrepancy(0.01 * rows, task, weight, 2.0).item() == pytest.approx(expected)
    assert discrepancy(0 * rows, task, weight, 2.0).item() == pytest.approx(0)
    assert discrepancy(rows, 0 * task, weight, 2.0).item() == pytest.approx(0)


def test_it_is_the_mean_over_pairs_of_tasks_and_places():
    torch.manual_seed(0)
    inner = torch.randn(9, 2, 3).double()
    task = torch.tensor([2, 0, 0, 1, 2, 2, 1, 4, 4])
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 0.0, 0.0, 0.0]).double()
    found = []
    for rows in inner.unbind(1):
        apart = (rows.unsqueeze(0) - rows.unsqueeze(1)).square().sum(-1)
        shares = {t: weight * (task == t) / weight[task == t].sum() for t in (0, 1, 2)}
        mean = sum(a @ apart @ b for a in shares.values() for b in shares.values()) / 9
        near = torch.exp(-apart / (2 * 0.7 * mean))
        for s, t in combinations(shares.values(), 2):
            found.append((s - t) @ near @ (s - t))
    torch.testing.assert_close(discrepancy(inner, task, weight, 0.7), torch.stack(found).mean())


def test_what_moves_and_that_tasks_come_to_look_alike(walk):
    x = torch.cat([task.train.x for task in STREAM]).double()
    task = torch.cat([torch.full((len(task.train),), t) for t, task in enumerate(STREAM)])

    def learned(spec):
        moments = {(m, p.name): v for m, p, v, *_ in walk(spec, STREAM, tiny_model, epochs=4)}
        down = moments["end", "adapt"]["1.parametrizations.weight.0.down"][0]
        return moments, discrepancy(x @ down.mT, task, torch.ones(len(x)).double(), 1.0)

    moments, aligned = learned("align-lora(rank=2, alignment=20)")
    for phase, own in (("learn", {"original"}), ("adapt", {"0.down", "0.up"})):
        before, after = moments["start", phase], moments["end", phase]
        moved = {k for k in before if not torch.equal(before[k], after[k])}
        biases = {"1.bias"} if phase == "learn" else set()
        expected = {f"1.parametrizations.weight.{k}" for k in own} | biases | {"3.weight", "3.bias"}
        assert moved == expected
    assert aligned < 0.8 * learned("align-lora(rank=2, alignment=0)")[1]


def convolutions():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 2))


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(x @ self.layer.weight.mT)


@pytest.mark.parametrize(
    ("spec", "model", "line"),
    [
        ("align-lora", convolutions, "needs linear layers to adapt; found convolutions alone"),
        ("align-lora(rank=6)", tiny_model, "at most 5, the smaller side of 1.weight; found 6"),
        ("align-lora", Reads, "needs layers that are called; the model reads the weight of layer itself"),
        ("align-lora(rank=0)", tiny_model, "rank must"),
        ("align-lora(alignment=-1)", tiny_model, "alignment must"),
        ("align-lora(width=0)", tiny_model, "width must"),
        ("align-lora(alpha=0)", tiny_model, "alpha must"),
        ("align-lora(targets='(')", tiny_model, "targets"),
    ],
)
def test_what_it_refuses(spec, model, line):
    with pytest.raises(PerdureError, match=line):
        compare(STREAM, [get(spec)], model=model, seeds=1, quiet=True)
