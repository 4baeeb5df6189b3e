"""What a run cost, worked out by hand: every sample that a step learns from, every product of a stage."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from perdure import compare
from perdure.scenarios import get
from perdure.strategies import External, Strategy
from perdure.testing import tiny_stream

SIZES, BATCH, EPOCHS = (9, 12, 7), 4, 2
STEPS = [3, 3, 2]  # of an epoch of each task
# A linear layer of 5 x 2: the product forward, and the one for the slopes of the weights.
STEP = 2 * 2 * BATCH * 5 * 2
PASS = [6 * 5 * 2 * n for n in SIZES]  # forward, and two products backward
STREAM = tiny_stream("domain", SIZES)


def linear(shape, outputs):
    return nn.Linear(*shape, outputs)


def run(*strategies, model=linear):
    return compare(
        STREAM, strategies, model=model, seeds=2, batch_size=BATCH, epochs=EPOCHS, quiet=True, lr=0.01
    )


REMEMBERED = {  # samples of memories in each step
    "replay(5)": BATCH,
    "replay(5, batch_size=3)": 3,
    "der(5)": BATCH,
    "derpp(5)": 2 * BATCH,
    "agem(2, sample=3)": 3,
    "gem(samples_per_task=2)": 2 * len(SIZES),
    "ewc": 0,
    "lwf": 0,
    "replay(5) + agem(2, sample=3)": BATCH + 3,
}


@pytest.mark.parametrize("strategy", REMEMBERED)
def test_samples_of_memories_are_seen(strategy):
    costs = run(strategy).costs.popitem()[1]
    steps = EPOCHS * sum(STEPS)
    assert costs["steps"] == steps
    assert costs["samples_seen"] == EPOCHS * sum(SIZES) + steps * REMEMBERED[strategy]


def test_a_phase_on_a_memory_counts_its_own_batches():
    gdumb, fpf = run("gdumb(capacity=4, epochs=2, batch_size=3)", "fpf(5, steps=10)").costs.values()
    assert gdumb["samples_seen"] == 3 * (2 * 2) * 3  # three fits of two passes, two steps each
    assert fpf["samples_seen"] == EPOCHS * sum(SIZES) + 10 * BATCH


def test_compute_efficiency_by_hand():
    results = run("naive", "replay(5)", "cumulative", "joint", "gdumb(capacity=4, epochs=2)")
    steps = {
        "naive": STEPS,
        "replay(5)": [2 * n for n in STEPS],  # as many samples again
        "cumulative": [3, 6, 7],
        "joint": [7],
    }
    passes = {"joint": [sum(PASS)]}
    for name, each in steps.items():
        training = [EPOCHS * n * STEP for n in each]
        once = passes.get(name, PASS)
        assert results.extras[name]["training_flops"] == training
        assert results.extras[name]["pass_flops"] == once
        expected = sum(a / b for a, b in zip(once, training, strict=True)) / len(once)
        assert results.metric("compute_efficiency", name) == pytest.approx([min(1.0, expected)] * 2)
    # Collecting and fitting are one pass.
    assert results.extras["gdumb(capacity=4, epochs=2)"]["pass_flops"] == PASS
    efficiency = {n: results.metric("compute_efficiency", n)[0] for n in ("naive", "replay(5)", "cumulative")}
    assert efficiency["naive"] > efficiency["cumulative"]
    assert efficiency["naive"] == pytest.approx(2 * efficiency["replay(5)"])


class Beside(nn.Module):
    """Computes something beside its samples: the same for one of them as for a batch; more when scoring."""

    def __init__(self):
        super().__init__()
        self.layer, self.register = nn.Linear(5, 2), nn.Parameter(torch.ones(6, 5))

    def forward(self, x):
        rows = self.register if self.training else self.register.repeat(50, 1)
        return self.layer(x) + self.layer(rows).mean(0)


class Refusing(Beside):
    """Cannot be asked in training mode for batches that no step has."""

    def forward(self, x):
        if self.training and len(x) < 4:
            raise ValueError("too few")
        return self.layer(x)


@pytest.mark.parametrize(("model", "products"), [(Beside, 5 * 2 * (1 + 6 / BATCH)), (Refusing, 5 * 2)])
def test_what_a_model_computes_beside_its_samples_is_shared_by_a_batch(model, products):
    results = run("naive", model=model)
    assert results.extras["naive"]["pass_flops"] == [6 * products * n for n in SIZES]


def test_a_transformer_that_scores_beside_a_context_is_not_more_efficient_for_it():
    stream = get("multitab-bench(tasks=2, features=3, samples=64, val_samples=8, test_samples=8)")
    results = compare(stream, ["multitab-net", "mmoe"], seeds=1, batch_size=16, epochs=EPOCHS, quiet=True)
    for name in results.strategies:
        assert results.metric("compute_efficiency", name) == pytest.approx([1 / EPOCHS], rel=0.1)


def test_all_chunks_of_a_measure_count():
    results = run("naive", "ewc")
    naive, ewc = (results.extras[n]["training_flops"] for n in results.strategies)
    extra = [b - a for a, b in zip(naive, ewc, strict=True)]
    chunk = extra[0] - extra[2]  # of three batches, and of two
    assert extra[0] == extra[1]
    assert extra[2] > chunk > 0  # the first one counts too


@dataclass(frozen=True)
class Looks(Strategy):
    """Goes through a task once more at its end."""

    name: ClassVar[str] = "looks"

    def init(self, net, params, stream):
        return {"sum": next(iter(params.values())).sum()}

    def end_task(self, net, params, state, task):
        return params, {"sum": net(params, task.x, task.task).sum()}


def test_operations_between_the_steps_count():
    results = run("naive", Looks())
    naive, looks = (results.extras[n]["training_flops"] for n in results.strategies)
    assert [b - a for a, b in zip(naive, looks, strict=True)] == [2 * 5 * 2 * n for n in SIZES]


class Branching(nn.Linear):
    """Refuses `vmap`: its path depends on a value."""

    def forward(self, x):
        return super().forward(x) if x.sum() < 1e9 else x


def test_what_cannot_be_mapped_counts_as_well():
    plain = run("naive")
    unmapped = run("naive", model=lambda shape, outputs: Branching(*shape, outputs))
    assert not unmapped.extras["naive"]["mapped"]
    assert unmapped.costs["naive"]["flops"] == pytest.approx(plain.costs["naive"]["flops"], rel=0.05)
    assert unmapped.costs["naive"]["samples_seen"] == plain.costs["naive"]["samples_seen"]


class Rereads:
    """A learner that goes through its last two samples again with every batch."""

    def __init__(self, terms):
        self.terms = terms
        self.optimizer = terms.optimizer(terms.model.parameters())

    def learn(self, task, index):
        self.terms.model.train()
        for x, y in zip(task.train.x.split(3), task.train.y.split(3), strict=True):
            loss = nn.functional.cross_entropy(self.terms.model(x), y)
            loss = loss + nn.functional.cross_entropy(self.terms.model(task.train.x[-2:]), task.train.y[-2:])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                self.terms.model(x)  # only looked at

    def predict(self, x, index):
        return self.terms.model.eval()(x)


class Outside(External):
    def start(self, stream, terms):
        return Rereads(terms)


def test_an_external_learners_samples_are_those_it_takes_gradients_of():
    costs = run(Outside()).costs["external"]
    assert costs["samples_seen"] == sum(SIZES) + 2 * (3 + 4 + 3)
