"""Gradients of several tasks, awkward ones among them."""

import pytest
import torch

from perdure.core.random import Rng

KINDS = ("independent", "dependent", "opposed", "crowded", "lengths", "huge", "zero", "one zero")


def make_gradients(kind, seed=0, tasks=5, size=12):
    """Gradients ``[tasks, size]`` float64: of each kind, no two seeds alike."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    rows = normal(tasks, 3 if kind == "crowded" else size)
    if kind in ("dependent", "opposed"):
        share = torch.rand(tasks - 3, 3, generator=source, dtype=torch.float64)
        rows[3:] = (share if kind == "dependent" else -share) @ rows[:3]
    if kind == "lengths":
        rows = rows * 10.0 ** torch.linspace(-1, 1, tasks, dtype=torch.float64).unsqueeze(1)
    if kind == "huge":
        rows = rows * 1e6
    if kind == "zero":
        rows = rows * 0
    if kind == "one zero":
        rows[1] = 0
    return rows


@pytest.fixture
def gradients():
    return make_gradients


@pytest.fixture
def weigh():
    """The weights that a rule gives to gradients ``[tasks, size]``, at a step of its own for each call."""

    def weights(rule, rows, losses=None, step=0):
        losses = torch.ones(len(rows), dtype=torch.float64) if losses is None else losses
        rng = Rng(torch.tensor(7), torch.tensor(step))
        return rule.weights(rows @ rows.mT, losses, rule.init(len(rows), rows), rng)

    return weights
