"""What a hook does is the same alone and in company, whatever order its names come in."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.engine import boundary, step
from perdure.engine.engine import Engine
from perdure.experiment import get_phases
from perdure.scenarios import from_arrays
from perdure.strategies import EWC, KFPF, MAS, DERpp, External, Naive, Phase, Replay, Strategy
from perdure.strategies.contract.composition import Composition
from perdure.testing import Broken, tiny_stream
from perdure.testing.runs import train
from perdure.training import Training


def perceptron(shape, outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, outputs))


def weights(strategy):
    """Return the trained weights and the scores; unrecorded, as a few steps are done sooner so."""
    training = Training(2, 4, lr=0.05, device="cpu", dtype="float64")
    engine = Engine(tiny_stream("domain", (9, 12)), strategy, training, perceptron, [1])
    engine.mapper.mapped = False
    engine.program = replace(engine.program, mappable=False)
    ran = train(engine, "here")
    return torch.cat([v.flatten() for v in ran.params.values()]), ran.scores


def learned(strategy, stream=None, **changes):
    """Return the first replica's weights and what is left of the run, recorded."""
    stream = tiny_stream("domain", (9, 12)) if stream is None else stream
    given = {"model": perceptron, "seeds": 1, "epochs": 1, "batch_size": 4, "dtype": "float64", **changes}
    trained = compare(stream, [strategy], quiet=True, keep=True, **given).trained
    only = next(iter(trained.values()))
    return torch.cat([v.flatten() for v in only.params().values()]), only


# ---- every hook alone ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class One(Strategy):
    """Each subclass has one hook."""

    name: ClassVar[str] = "one"


@dataclass(frozen=True)
class Extends(One):
    def extend(self, model, stream):
        return nn.Sequential(model, nn.Tanh())


@dataclass(frozen=True)
class Phases(One):
    def phases(self, stream):
        return [Phase((t,), epochs=3) for t in range(len(stream))]


@dataclass(frozen=True)
class Arranges(One):
    def arrange(self, stream, phases):
        return [replace(p, epochs=3) for p in phases]


@dataclass(frozen=True)
class LaysOutAndArranges(Phases):
    def arrange(self, stream, phases):
        return [replace(p, epochs=2 * p.epochs) for p in phases]


@dataclass(frozen=True)
class Begins(One):
    def begin_task(self, net, params, state, task):
        return {k: 0.9 * v for k, v in params.items()}, state


@dataclass(frozen=True)
class Trains(One):
    def trainable(self, net, params, phase):
        return list(params)[:2]


@dataclass(frozen=True)
class Batches(One):
    def batch(self, net, params, state, batch):
        return batch.with_rows(x=batch.x + batch.rng.normal("noise", *batch.x.shape, dtype=batch.x.dtype))


@dataclass(frozen=True)
class Loses(One):
    def losses(self, net, params, state, batch, losses):
        return losses * 2


@dataclass(frozen=True)
class Slopes(One):
    def gradient(self, net, params, state, grads, batch):
        return {k: g + 0.1 * params[k] for k, g in grads.items()}


@dataclass(frozen=True)
class PerLoss(One):
    per_loss_gradients: ClassVar[bool] = True

    def phases(self, stream):
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def gradient(self, net, params, state, grads, batch):
        return {k: g.sum(0) * 0.5 for k, g in grads.items()}


@dataclass(frozen=True)
class PerLossOnly(One):
    per_loss_gradients: ClassVar[bool] = True

    def gradient(self, net, params, state, grads, batch):
        return {k: g.sum(0) for k, g in grads.items()}


@dataclass(frozen=True)
class Follows(One):
    def after_step(self, net, params, state, step):
        return {k: v - 0.01 * step.previous[k] for k, v in params.items()}, state


@dataclass(frozen=True)
class Measures(One):
    count: int | None = None

    @property
    def accumulated_samples(self):
        return self.count

    def init(self, net, params, stream):
        return {"sum": torch.zeros(())}

    def accumulate(self, net, params, state, batch):
        return {"sum": (batch.x.sum(1) * batch.weight).sum(), "count": batch.weight.sum()}

    def end_task(self, net, params, state, task):
        mean = task.accumulated["sum"] / task.accumulated["count"]
        return {k: v + 0.01 * mean for k, v in params.items()}, {"sum": mean.float()}


@dataclass(frozen=True)
class Ends(One):
    def end_task(self, net, params, state, task):
        return {k: 0.5 * v for k, v in params.items()}, state


@dataclass(frozen=True)
class Answers(One):
    def forward(self, net, params, state, x, task):
        return -net(params, x, task)


HOOKS = [
    Extends(), Phases(), Arranges(), LaysOutAndArranges(), Begins(), Trains(), Batches(), Loses(), Slopes(),
    PerLoss(), Follows(), Measures(), Measures(3), Ends(), Answers(),
]  # fmt: skip


@dataclass(frozen=True)
class Watches(Strategy):
    """Measures all samples, and does nothing with them."""

    name: ClassVar[str] = "watches"

    def accumulate(self, net, params, state, batch):
        return {"count": batch.weight.sum()}


@pytest.mark.parametrize("strategy", HOOKS, ids=lambda s: type(s).__name__ + str(getattr(s, "count", "")))
def test_every_hook_has_its_effect_alone_and_in_company(strategy):
    plain, plain_scores = weights(Naive())
    alone, scores = weights(strategy)
    assert not torch.equal(alone, plain) or not torch.equal(scores, plain_scores)
    for company in (strategy + Watches(), Watches() + strategy):
        beside, beside_scores = weights(company)
        torch.testing.assert_close(beside, alone, rtol=0, atol=1e-12)
        assert torch.equal(beside_scores, scores)


def test_one_gradient_per_loss_leaves_others_the_gradient_they_expect():
    torch.testing.assert_close(
        weights(PerLoss() + Slopes())[0], weights(Slopes() + PerLoss())[0], rtol=0, atol=1e-12
    )
    with pytest.raises(PerdureError, match="at most one strategy with one gradient per loss"):
        PerLossOnly() + PerLossOnly()


def test_the_number_of_samples_measured_is_ones_own():
    stream = tiny_stream("domain", (9,))
    alone, beside = (
        learned(s, stream)[1].state("ewc")["fisher"] for s in (EWC(samples=5), EWC(samples=5) + MAS())
    )
    torch.testing.assert_close(beside, alone, rtol=1e-12, atol=1e-15)


def test_steps_of_arranged_phases_are_the_same_everywhere():
    several = [
        Naive(),
        Arranges(),
        Arranges() + Naive(),
        LaysOutAndArranges(),
        Naive() + LaysOutAndArranges(),
    ]
    stream = tiny_stream("domain", (9, 12))
    epochs = [[p.epochs for p in get_phases(s, stream)] for s in several]
    assert epochs == [[None] * 2, [3] * 2, [3] * 2, [6] * 2, [6] * 2]


def test_fine_tuning_is_arranged_alone_too():
    assert torch.equal(weights(KFPF(k=2, steps=3))[0], weights(KFPF(k=2, steps=3) + Naive())[0])


@dataclass(frozen=True)
class Learns(External):
    name: ClassVar[str] = "learns"


def test_a_learner_of_its_own_has_no_company():
    for make in (lambda: Learns() + Naive(), lambda: Naive() + Learns()):
        with pytest.raises(PerdureError, match="learns is a learner of its own and runs alone"):
            make()


# ---- names --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named(Strategy):
    """Holds two equal shapes under two names; each subclass returns them the other way round somewhere."""

    name: ClassVar[str] = "named"

    def init(self, net, params, stream):
        return {"deep": {"zero": torch.zeros(3), "one": torch.ones(3)}, "sum": torch.zeros(3)}


def turned(values):
    return {k: turned(v) if isinstance(v, dict) else v for k, v in reversed(values.items())}


@dataclass(frozen=True)
class TurnsBegin(Named):
    def begin_task(self, net, params, state, task):
        return turned(params), turned(state)


@dataclass(frozen=True)
class TurnsGradient(Named):
    def gradient(self, net, params, state, grads, batch):
        return turned(grads)


@dataclass(frozen=True)
class TurnsStep(Named):
    def after_step(self, net, params, state, step):
        return turned(params), turned(state)


@dataclass(frozen=True)
class TurnsEnd(Named):
    def end_task(self, net, params, state, task):
        return turned(params), turned(state)


def square(shape, outputs):
    """Layers of one shape: swapped, nothing would complain."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, outputs))


@pytest.mark.parametrize("make", [TurnsBegin, TurnsGradient, TurnsStep, TurnsEnd])
def test_the_order_of_names_does_not_matter(make):
    expected, _ = learned(Named(), model=square, optimizer="adam", lr=0.01)
    found, trained = learned(make(), model=square, optimizer="adam", lr=0.01)
    assert torch.equal(found, expected)
    state = trained.state("named")
    assert state["deep"]["zero"].tolist() == [0] * 3
    assert state["deep"]["one"].tolist() == [1] * 3
    assert list(state) == ["deep", "sum"]


@dataclass(frozen=True)
class Adds(Named):
    def after_step(self, net, params, state, step):
        return params, {**state, "more": torch.zeros(3)}


@dataclass(frozen=True)
class LeavesOut(Named):
    def end_task(self, net, params, state, task):
        return dict(list(params.items())[1:]), state


@dataclass(frozen=True)
class Renames(Named):
    def begin_task(self, net, params, state, task):
        return params, {**state, "deep": {"zero": torch.zeros(3), "two": torch.ones(3)}}


@dataclass(frozen=True)
class NoGradient(Named):
    def gradient(self, net, params, state, grads, batch):
        return {**grads, "other": torch.zeros(())}


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (Adds(), "after_step of named must return the names that it was given; it adds 'more'"),
        (LeavesOut(), "end_task of named must return the names that it was given; it leaves out '0.weight'"),
        (
            Renames(),
            "begin_task of named must return the names that it was given at 'deep'; it leaves out 'one'",
        ),
        (NoGradient(), "gradient of named must return the names that it was given; it adds 'other'"),
    ],
)
def test_other_names_are_refused(broken, line):
    with pytest.raises(PerdureError) as caught:
        weights(broken)
    assert str(caught.value) == line


def test_the_check_returns_names_in_reverse(monkeypatch):
    check_strategy(EWC(), tiny_stream("domain", (5, 6)))
    # An engine that took what comes as it comes would be seen.
    monkeypatch.setattr(Composition, "returned", lambda self, hook, part, what, given, found: found)
    for module in (boundary, step):
        monkeypatch.setattr(module, "like", lambda given, found, who: found)
    with pytest.raises(Broken):
        check_strategy(EWC(), tiny_stream("domain", (5, 6)), model=square)


# ---- memories -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marks(Strategy):
    """Add a large random number to each sample's second value."""

    name: ClassVar[str] = "marks"

    def batch(self, net, params, state, batch):
        mark = batch.rng.integers("mark", 1000, len(batch)).to(batch.x.dtype) + 1
        return batch.with_rows(x=torch.stack([batch.x[:, 0], batch.x[:, 1] + mark], 1))


def plane():
    x = np.stack([np.arange(40) / 40.0, np.zeros(40)], 1)
    y = (x[:, 0] > 0.5).astype(int)
    return from_arrays([(x, y), (x + np.array([0.001, 0.0]), y)], "domain")


def memory_of(strategy, part):
    _, trained = learned(strategy, plane(), batch_size=7, lr=1e-9, model=lambda: nn.Linear(2, 2))
    state = trained.state(part)
    return state.get("memory", state), trained


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("strategy", "part"),
    [(Replay(16), "replay"), (DERpp(16), "derpp"), (KFPF(16, k=1, steps=2, kd=0.5), "kfpf")],
    ids=["replay", "derpp", "kfpf"],
)
def test_memories_hold_what_came_from_the_stream(strategy, part, first):
    memory, trained = memory_of(Marks() + strategy if first else strategy + Marks(), part)
    assert bool(memory["filled"].all())
    assert len(memory["x"][:, 0].unique()) > 8
    assert memory["x"][:, 1].abs().max() == 0
    if "logits" in memory:
        # The weights hardly move: the outputs stored belong to the inputs stored.
        net = trained.net()
        outputs = net(trained.params(), memory["x"], memory["task"])
        torch.testing.assert_close(memory["logits"], outputs, rtol=0, atol=1e-4)
