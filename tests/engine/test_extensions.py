"""Room for what comes next: each needs no change of the engine."""

from collections import deque
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from perdure import PerdureError
from perdure.core.batch import Batch
from perdure.experiment import run
from perdure.scenarios import from_arrays
from perdure.strategies import Naive, get
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy
from perdure.training import make_settings

BASE = {
    "model": "mlp(hidden=[8])", "seeds": 3, "epochs": 2, "batch_size": 16, "device": "cpu",
    "dtype": "float64",
}  # fmt: skip


def finish(engine, replica, phase, data):
    """Run a phase to its end."""
    return (deque(engine.train(replica, phase, data), maxlen=1) or [replica])[-1]


def train(stream, strategy, **changes):
    outcome = run(stream, strategy, make_settings(stream, **{**BASE, **changes}))
    assert outcome.extras["mapped"], outcome.warnings
    return outcome


def points(tasks=2, setting="domain", n=64):
    generator = torch.Generator().manual_seed(0)

    def part(t, n):
        x = torch.randn(n, 4, generator=generator)
        return x, (x[:, t] > 0).long() + (0 if setting == "domain" else 2 * t)

    return from_arrays([(part(t, n), part(t, 40)) for t in range(tasks)], setting=setting)


# ---- several tasks in a batch, a loss each, and a rule that combines their gradients -------------


@dataclass(frozen=True)
class Weighted(Strategy):
    """Learns all tasks at once; the update is a weighted sum of the tasks' gradients."""

    name: ClassVar[str] = "weighted"
    per_loss_gradients: ClassVar[bool] = True
    weights: tuple[float, ...] = (1.0, 0.0)

    def phases(self, stream):
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def gradient(self, net, params, state, grads, batch):
        w = torch.tensor(self.weights, dtype=torch.float64)
        return {k: torch.tensordot(w, g, 1) for k, g in grads.items()}


def test_a_rule_may_combine_the_gradients_of_tasks_that_share_a_step():
    stream = points(n=400)
    first = train(stream, Weighted(weights=(1.0, 0.0)), epochs=10).scores[0].mean(0)
    second = train(stream, Weighted(weights=(0.0, 1.0)), epochs=10).scores[0].mean(0)
    assert float(first[0]) > 0.85 > 0.7 > float(first[1])
    assert float(second[1]) > 0.85 > 0.7 > float(second[0])


# ---- parameters replaced at a task's end from a bank ---------------------------------------------


@dataclass(frozen=True)
class Average(Strategy):
    """Trains every task from the common start and keeps the mean of the end points: merging."""

    name: ClassVar[str] = "average"

    def init(self, net, params, stream):
        return {
            "start": dict(params),
            "bank": {k: p.new_zeros((len(stream), *p.shape)) for k, p in params.items()},
            "count": torch.zeros((), dtype=torch.int64),
        }

    def begin_task(self, net, params, state, task):
        return state["start"], state

    def end_task(self, net, params, state, task):
        one = (
            torch.arange(len(state["bank"]["1.bias" if "1.bias" in params else next(iter(params))]))
            == task.index
        )
        bank = {k: torch.where(one.view(-1, *(1,) * p.ndim), p, state["bank"][k]) for k, p in params.items()}
        count = state["count"] + 1
        merged = {k: b.sum(0) / count for k, b in bank.items()}
        return merged, {**state, "bank": bank, "count": count}


def test_parameters_may_be_replaced_from_a_bank():
    from perdure.experiment import make_engine

    stream = points()
    chosen = make_settings(stream, **BASE)
    engine = make_engine(stream, Average(), chosen)
    replica = start = engine.start()
    begin = {k: v.clone() for k, v in start.params.items()}
    ends = []
    for phase in Average().phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for k, v in begin.items():
            assert torch.equal(replica.params[k], v)
        replica = finish(engine, replica, phase, data)
        ends.append({k: v.clone() for k, v in replica.params.items()})
        replica = engine.boundary(replica, phase, data, "end_task")
    for k in begin:
        assert torch.allclose(replica.params[k], (ends[0][k] + ends[1][k]) / 2, atol=1e-12)
    train(stream, Average())


# ---- parameters that exist once per task ---------------------------------------------------------


class PerTask(nn.Module):
    """A scale of the inputs for each task before a shared layer."""

    def __init__(self, inner, tasks, width):
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.ones(tasks, width))

    def forward(self, x, task):
        return self.inner(x * self.scale.index_select(0, task))


@dataclass(frozen=True)
class Scales(Strategy):
    """Trains the shared weights on the first task and only the task's own scale on later ones."""

    name: ClassVar[str] = "scales"

    def extend(self, model, stream):
        return PerTask(model, len(stream), stream.input_shape[0])

    def gradient(self, net, params, state, grads, batch):
        shared = (batch.current == 0).to(torch.float64)
        return {k: g if k == "scale" else g * shared for k, g in grads.items()}


def test_parameters_may_exist_once_per_task():
    outcome = train(points(tasks=2), Scales(), epochs=5)
    # The first task's outputs depend on its own scale and on weights that stood still: nothing is forgotten.
    assert torch.equal(outcome.scores[0][:, 0], outcome.scores[1][:, 0])


# ---- a phase between tasks -----------------------------------------------------------------------


@dataclass(frozen=True)
class Rest(Strategy):
    """After every task, halves the weights in three steps of a phase of its own."""

    name: ClassVar[str] = "rest"

    def phases(self, stream):
        rows = []
        for t in range(len(stream)):
            rows += [Phase((t,), stage=False), Phase((t,), name="rest", steps=3)]
        return rows

    def init(self, net, params, stream):
        return {"rested": torch.zeros((), dtype=torch.int64)}

    def gradient(self, net, params, state, grads, batch: Batch):
        return {k: torch.zeros_like(g) for k, g in grads.items()} if batch.phase == "rest" else grads

    def after_step(self, net, params, state, step):
        if step.batch.phase != "rest":
            return params, state
        return {k: p * 0.5 for k, p in params.items()}, {"rested": state["rested"] + 1}


def test_a_strategy_may_add_a_phase_between_tasks():
    from perdure.experiment import make_engine

    stream = points()
    outcome = train(stream, Rest())
    assert len(outcome.scores) == len(stream)
    engine = make_engine(stream, Rest(), make_settings(stream, **BASE))
    replica = engine.start()
    for phase in Rest().phases(stream):
        before = {k: v.clone() for k, v in replica.params.items()}
        replica = finish(engine, replica, phase, engine.load(phase))
        if phase.name == "rest":
            for k, v in before.items():
                assert torch.allclose(replica.params[k], v / 8)
    assert replica.state["rest"]["rested"].tolist() == [6, 6, 6]


# ---- training some of the parameters --------------------------------------------------------------


@dataclass(frozen=True)
class Some(Strategy):
    """Trains the head alone from the second task on."""

    name: ClassVar[str] = "some"

    def phases(self, stream):
        return [replace(p, name="learn" if i == 0 else "head") for i, p in enumerate(super().phases(stream))]

    def trainable(self, net, params, phase):
        return tuple(params) if phase == "learn" else tuple(params)[-2:]


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "adamw"])
@pytest.mark.parametrize("beside", ["", "ewc", "agem(10)"])
def test_what_a_phase_does_not_train_stays_to_the_bit(optimizer, beside):
    strategy = Some() + get(beside) if beside else Some()
    one, two = points(1), points(2)
    changes = {"optimizer": optimizer, "weight_decay": 0.01, "lr": 0.01}
    before, after = (train(s, strategy, **changes).trained.replica.params for s in (one, two))
    names = list(before)
    for name in names[:-2]:
        assert torch.equal(before[name], after[name])
    for name in names[-2:]:
        assert not torch.equal(before[name], after[name])


def test_training_the_head_alone_takes_fewer_operations():
    flops = [
        train(points(2), s, model="mlp(hidden=[64, 64])").extras["training_flops"] for s in (Some(), Naive())
    ]
    assert flops[0][0] == flops[1][0]
    # Forward and backward of the whole: about 3 products per weight; with the head's gradient alone, 1.
    assert flops[0][1] < 0.45 * flops[1][1]


def test_what_a_phase_trains_is_asked_once():
    asked = []

    @dataclass(frozen=True)
    class Asked(Some):
        def trainable(self, net, params, phase):
            asked.append(phase)
            return super().trainable(net, params, phase)

    train(points(3), Asked(), epochs=2)
    assert asked == ["learn", "head"]


def test_training_nothing_is_refused():
    @dataclass(frozen=True)
    class Nothing(Strategy):
        name: ClassVar[str] = "nothing"

        def trainable(self, net, params, phase):
            return ()

    with pytest.raises(PerdureError, match="trains nothing in the phase 'learn'"):
        train(points(1), Nothing())
