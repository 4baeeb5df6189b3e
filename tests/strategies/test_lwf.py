"""Learning without forgetting."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies import LwF, Phase
from perdure.strategies.regularization.lwf import divergence
from perdure.testing import tiny_stream


def test_divergence_by_hand():
    # Before (1/4, 3/4), now (1/2, 1/2): 1/4 log(1/2) + 3/4 log(3/2); the third output does not take part.
    before = torch.tensor([[0.0, math.log(3), 50.0]]).double()
    now = torch.tensor([[1.0, 1.0, -4.0]]).double()
    among = torch.tensor([True, True, False])
    expected = math.log(0.5) / 4 + 3 * math.log(1.5) / 4
    assert divergence(before, now, among, 1.0).item() == pytest.approx(expected)
    # At temperature T the outputs are divided by it.
    assert divergence(2 * before, 2 * now, among, 2.0).item() == pytest.approx(expected)


def test_divergence_is_torchs_and_nothing_where_no_output_takes_part():
    generator = torch.Generator().manual_seed(0)
    before, now = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    theirs = nn.functional.kl_div((now / 3).log_softmax(1), (before / 3).softmax(1), reduction="batchmean")
    ours = divergence(before, now, torch.ones(5, dtype=torch.bool), 3.0).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    none = torch.zeros(5, dtype=torch.bool)
    assert divergence(before, now, none, 3.0).abs().max().item() == 0
    slope = torch.func.grad(lambda z: divergence(before, z, none, 3.0).sum())(now)
    assert slope.abs().max().item() == 0


class Heads(nn.Module):
    """Adds the task's number to every output."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4)

    def forward(self, x, task):
        return self.linear(x) * (1 + task.unsqueeze(-1))


def place(module, stream, weight=None):
    torch.manual_seed(0)
    params = {k: torch.randn_like(v).double() for k, v in module.named_parameters()}
    masks = stream.masks()
    net = Net(module.double(), {}, None if bool(masks.all()) else masks, Classification(), training=True)
    x, y = stream[1].train.x[:4].double(), stream[1].train.y[:4]
    zero = torch.tensor(0)
    weight = torch.ones(4).double() if weight is None else weight
    return (
        net,
        params,
        Batch({"x": x, "y": y, "task": torch.ones(4).long(), "weight": weight}, zero + 1, Rng(zero, zero)),
    )


def learned(strategy, net, params, stream, tasks):
    """The state after some tasks, with these parameters at the end."""
    state = strategy.init(net, params, stream)
    for t in tasks:
        classes = torch.zeros(stream.outputs, dtype=torch.bool)
        classes[list(stream[t].outputs)] = True
        done = type("Done", (), {"outputs": classes, "phase": Phase((t,))})()
        _, state = strategy.end_task(net, params, state, done)
    return state


@pytest.mark.parametrize("module", [nn.Linear(5, 6), Heads()])
def test_every_earlier_head_is_distilled_on_its_own_outputs(module):
    stream = tiny_stream("task", (8, 8, 8) if isinstance(module, nn.Linear) else (8, 8))
    strategy = LwF(strength=1.5, temperature=2.0)
    net, params, batch = place(module, stream, torch.tensor([1.0, 1.0, 1.0, 0.0]).double())
    tasks = range(len(stream) - 1)
    state = learned(strategy, net, params, stream, tasks)
    now = {k: v * 0.5 + 0.1 for k, v in params.items()}
    found = strategy.losses(net, now, state, batch, torch.tensor([7.0]).double())
    expected = 0.0
    for t in tasks:
        own, label = list(stream[t].outputs), torch.full((3,), t)
        more = (label,) if isinstance(module, Heads) else ()
        before = torch.func.functional_call(module, params, (batch.x[:3], *more))[:, own] / 2
        after = torch.func.functional_call(module, now, (batch.x[:3], *more))[:, own] / 2
        expected += nn.functional.kl_div(after.log_softmax(1), before.softmax(1), reduction="batchmean")
    assert found.item() == pytest.approx(7.0 + 1.5 * float(expected))
    assert float(expected) > 0.01


def test_one_head_of_all_classes_seen_where_outputs_are_shared():
    stream = tiny_stream("class", (8, 8, 8))
    net, params, _ = place(nn.Linear(5, 6), stream)
    assert learned(LwF(), net, params, stream, [])["heads"].tolist() == [[False] * 6]
    assert learned(LwF(), net, params, stream, [0, 1])["heads"].tolist() == [[True] * 4 + [False] * 2]
    stream = tiny_stream("domain", (8, 8, 8))
    net, params, _ = place(nn.Linear(5, 2), stream)
    assert learned(LwF(), net, params, stream, [0])["heads"].tolist() == [[True, True]]


def test_at_the_kept_model_the_penalty_and_its_slope_are_zero():
    stream = tiny_stream("class", (8, 8))
    strategy = LwF(strength=3.0)
    net, params, batch = place(nn.Linear(5, 4), stream)
    state = learned(strategy, net, params, stream, [0])

    def loss(p):
        inner = Net(net.module, {}, None, net.objective, training=True)
        return strategy.losses(inner, p, state, batch, torch.zeros(1).double()).sum()

    assert loss(params).item() == pytest.approx(0, abs=1e-12)
    for slope in torch.func.grad(loss)(params).values():
        assert slope.abs().max().item() < 1e-12


def test_the_penalty_is_shared_by_the_batchs_own_losses():
    stream = tiny_stream("class", (8, 8))
    strategy = LwF()
    net, params, batch = place(nn.Linear(5, 4), stream)
    state = learned(strategy, net, params, stream, [0])
    now = {k: -v for k, v in params.items()}
    whole = strategy.losses(net, now, state, batch, torch.zeros(1).double())
    appended = strategy.losses(net, now, state, batch, torch.zeros(2).double())
    assert appended.tolist() == [whole.item(), 0.0]


def test_it_remembers_more_than_naive_where_tasks_have_heads_and_starts_like_it():
    results = compare(
        "split-digits(setting='task', classes_per_task=5)", ["naive", "lwf", "lwf(strength=0.0)"],
        model="mlp(hidden=[64])", seeds=3, epochs=4, quiet=True, dtype="float64",
    )  # fmt: skip
    naive, lwf, zero = results.scores.values()
    np.testing.assert_array_equal(naive, zero)
    np.testing.assert_array_equal(naive[:, 0], lwf[:, 0])
    assert lwf[:, -1, 0].mean() > naive[:, -1, 0].mean()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"strength": -1}, "strength must be at least 0; found -1"),
        ({"temperature": 0}, "temperature must be positive; found 0"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        LwF(**values)
    assert str(caught.value) == line


def test_it_refuses_a_regression():
    x = np.linspace(0, 1, 40)[:, None]
    from perdure.scenarios import from_arrays

    with pytest.raises(PerdureError, match="lwf needs labels that are classes; found Regression"):
        compare(from_arrays([(x, 2.0 * x[:, 0]), (x + 1, x[:, 0])]), [LwF()], seeds=1, quiet=True)
