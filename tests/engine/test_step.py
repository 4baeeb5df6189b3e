"""What a step shows a strategy: losses, the gradient of each, what goes into a layer, rows of any name."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.func import grad

from perdure import PerdureError
from perdure.core.batch import Batch, weigh
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.engine.step import Program
from perdure.experiment import run
from perdure.models.inspect import shared
from perdure.scenarios import split
from perdure.scenarios.contract.objective import Classification
from perdure.strategies import Strategy
from perdure.strategies.contract.phase import Phase
from perdure.training import make_settings

STREAM = split("digits", classes_per_task=5, setting="task")
BASE = {
    "model": "mlp(hidden=[8])", "seeds": 2, "epochs": 1, "batch_size": 64, "optimizer": "sgd", "lr": 0.1,
    "weight_decay": 0.0, "schedule": "constant", "device": "cpu", "dtype": "float64", "precision": None,
    "pretrained": False, "eval_every": None, "tune": None,
}  # fmt: skip


@dataclass(frozen=True)
class ByLoss(Strategy):
    """Weighs each task's gradient by its loss, and keeps what the last step showed."""

    name: ClassVar[str] = "by-loss"
    per_loss_gradients: ClassVar[bool] = True

    def phases(self, stream):
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def init(self, net, params, stream):
        zero = next(iter(params.values())).new_zeros
        return {"losses": zero(2), "again": zero(2), "apart": zero(())}

    def gradient(self, net, params, state, grads, batch):
        return {k: torch.tensordot(batch.losses, g, 1) for k, g in grads.items()}

    def after_step(self, net, params, state, step):
        before = replace(net, training=False, _memo={})
        again = before.losses(step.previous, step.batch)
        whole = grad(lambda p: before.losses(p, step.batch).sum())(step.previous)
        apart = torch.stack([(whole[k] - g.sum(0)).abs().max() for k, g in step.of_each.items()]).max()
        return params, {"losses": step.batch.losses, "again": again, "apart": apart}


def test_a_step_shows_each_loss_and_its_gradient():
    outcome = run(STREAM, ByLoss(), make_settings(STREAM, **BASE))
    assert outcome.extras["mapped"], outcome.warnings
    kept = outcome.trained.state("by-loss", 1)
    assert float(kept["losses"].min()) > 0
    assert torch.allclose(kept["losses"], kept["again"], atol=1e-12)
    assert float(kept["apart"]) < 1e-12


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())


def two():
    module = Two().double()
    params = {k: v.detach() for k, v in module.named_parameters()}
    return module, params, Net(module, {}, None, Classification())


def test_what_goes_into_a_layer_is_seen_and_may_be_replaced():
    module, params, net = two()
    x, task = torch.randn(5, 3).double(), torch.zeros(5).long()
    inside, outputs = net.inside(params, x, task, "head")
    assert torch.equal(inside, module.body(x).relu())
    assert torch.equal(outputs, module(x))
    assert torch.equal(net.inside(params, x, task, "head", lambda h: 2 * h)[1], module.head(2 * inside))

    def loss(h):
        return net.inside(params, x, task, "head", lambda _: h)[1].sum()

    # The gradient with respect to a representation: what bounds on multi-task gradients are made of.
    assert torch.allclose(grad(loss)(inside), params["head.weight"].sum(0).expand(5, 4))
    with pytest.raises(PerdureError, match="expected the name of a layer of Two; found 'tail'"):
        net.inside(params, x, task, "tail")


def test_what_goes_into_a_kept_layer_costs_no_further_call():
    module, params, net = two()
    calls, x, task = [], torch.randn(5, 3).double(), torch.zeros(5).long()
    module.register_forward_hook(lambda *_: calls.append(1))
    keeping = replace(net, training=True, kept=("head",))
    output = keeping(params, x, task)
    inside, raw = keeping.inside(params, x, task, "head")
    assert len(calls) == 1
    assert torch.equal(raw, output)
    assert torch.equal(inside, net.inside(params, x, task, "head")[0])
    # Other inputs, parameters and what is put into the layer are calls of their own.
    other = keeping.inside(params, 2 * x, task, "head")[0]
    assert not torch.equal(other, inside)
    assert torch.equal(keeping.inside(params, x, task, "head")[0], inside)
    assert not torch.equal(keeping.inside(params, x, task, "head", lambda h: 2 * h)[1], raw)
    with pytest.raises(PerdureError, match="expected the name of a layer of Two; found 'tail'"):
        replace(net, training=True, kept=("tail",), _memo={})(params, x, task)


def test_what_tasks_share_is_all_but_the_head_or_what_the_model_says():
    module, params, _ = two()
    assert shared(module, params, 2) == ("body.weight", "body.bias")
    module.task_specific = ("body.bias", "head.")
    assert shared(module, params, 2) == ("body.weight",)


@dataclass(frozen=True)
class OnValidation(Strategy):
    """Learns on the validation part, and counts how many samples a phase has."""

    name: ClassVar[str] = "on-validation"

    def phases(self, stream):
        return [Phase((t,), part="val") for t in range(len(stream))]

    def init(self, net, params, stream):
        return {"count": torch.zeros((), dtype=torch.int64)}

    def end_task(self, net, params, state, task):
        return params, {"count": state["count"] + len(task)}


def test_a_phase_may_draw_from_the_validation_part():
    outcome = run(STREAM, OnValidation(), make_settings(STREAM, **BASE))
    assert int(outcome.trained.state("on-validation")["count"]) == sum(len(t.val) for t in STREAM)
    assert outcome.costs["samples_seen"] == sum(len(t.val) for t in STREAM)
    with pytest.raises(PerdureError, match="part must be 'train' or 'val'; found 'test'"):
        Phase((0,), part="test")


def test_rows_of_any_name_come_along():
    zero = torch.zeros((), dtype=torch.int64)
    rows = {"x": torch.ones(2, 3), "y": torch.zeros(2), "task": torch.zeros(2).long(), "logp": torch.ones(2)}
    batch = Batch(weigh(rows, torch.ones(2)), zero, Rng(zero, zero).scoped("a"))
    joined = batch.join({**rows, "logp": torch.tensor([5.0, 6.0]), "weight": torch.zeros(2)})
    assert joined.rows["logp"].tolist() == [1, 1, 5, 6]
    assert joined.own == slice(2, 4)
    assert joined.head().rows["logp"].tolist() == [1, 1]
    with pytest.raises(PerdureError, match="logp is missing"):
        batch.join({k: v for k, v in {**rows, "weight": torch.ones(2)}.items() if k != "logp"})


def test_labels_that_are_missing_weigh_nothing():
    rows = {"y": torch.zeros(2, 3), "weight": torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])}
    zero = torch.zeros((), dtype=torch.int64)
    batch = Batch(weigh(rows, torch.tensor([2.0, 1.0])), zero, Rng(zero, zero))
    assert batch.weight.tolist() == [[2, 0, 2], [0, 0, 0]]
    assert batch.sample_weight.tolist() == [2, 0]


@dataclass(frozen=True)
class Penalised(ByLoss):
    """Appends a loss that is of the parameters alone."""

    name: ClassVar[str] = "penalised"

    def init(self, net, params, stream):
        zero = next(iter(params.values())).new_zeros
        return {"losses": zero(3), "again": zero(2), "apart": zero(())}

    def losses(self, net, params, state, batch, losses):
        decay = sum((p * p).sum() for p in params.values())
        return torch.cat([losses, 0.01 * decay.reshape(1)])

    def after_step(self, net, params, state, step):
        return params, {**state, "losses": step.batch.losses}


class Centred(nn.Module):
    """Samples of a batch influence each other, and the module says so."""

    couples_samples = True

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(64, 10)

    def forward(self, x):
        return self.lin(x.flatten(1) - x.flatten(1).mean(0))


def dropping():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, 10))


def normed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))


@pytest.mark.parametrize(
    ("strategy", "model", "own"),
    [
        (ByLoss(), "mlp(hidden=[8])", True),
        (Penalised(), "mlp(hidden=[8])", False),
        (ByLoss(), dropping, False),
        (ByLoss(), normed, False),
        (ByLoss(), Centred, False),
    ],
    ids=["plain", "penalty", "dropout", "norm", "coupled"],
)
def test_a_loss_of_rows_of_its_own_is_differentiated_through_these_alone(strategy, model, own, monkeypatch):
    found, by_block = [], Program._by_block

    def watched(*args):
        found.append(by_block(*args))
        return found[-1]

    settings = {**BASE, "model": model, "seeds": 1}
    monkeypatch.setattr(Program, "_by_block", watched)
    quick = run(STREAM, strategy, make_settings(STREAM, **settings))
    assert found
    assert all((one is not None) is own for one in found)
    monkeypatch.setattr(Program, "_by_block", lambda *args: None)
    whole = run(STREAM, strategy, make_settings(STREAM, **settings))
    for name, value in quick.trained.params(0).items():
        torch.testing.assert_close(value, whole.trained.params(0)[name], rtol=1e-9, atol=1e-9)
    assert quick.costs["samples_seen"] == whole.costs["samples_seen"]
