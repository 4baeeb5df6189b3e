"""Adaptive SVD."""

import copy
import dataclasses
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import grad

from perdure import compare
from perdure.core.batch import Batch
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification, from_arrays
from perdure.scenarios.registry import get as get_stream
from perdure.strategies import AdaptiveSVD, Phase, Step, Strategy
from perdure.testing import check_strategy, tiny_stream

FORMS = [("factors", "two-sided"), ("factors", "input")] + [
    ("matrix", family) for family in ("two-sided", "input", "paper")
]


class Run:
    """One model whose loss is a squared distance, taken through the strategy's hooks as the engine does."""

    def __init__(self, strategy, module, x, y, seed=0):
        self.strategy, self.x, self.y = strategy, x, y
        self.module = strategy.extend(copy.deepcopy(module), tiny_stream())
        self.net = Net(self.module, {}, None, Classification())
        self.params = {k: v.detach().clone() for k, v in self.module.named_parameters()}
        self.state = strategy.init(self.net, self.params, tiny_stream())
        zero = torch.tensor(0)
        n = len(x)
        self.batch = Batch(
            {"x": x, "y": torch.zeros(n), "task": torch.zeros(n).long(), "weight": torch.ones(n)},
            zero, Rng(zero, zero),
            strategy.phases(tiny_stream())[0].name,
        )  # fmt: skip

    def outputs(self, x):
        return self.net.raw(self.params, x, torch.tensor(0))

    def weight(self, path="0"):
        """The whole weight that the model uses, as a matrix."""
        tensors = {k: v.clone() for k, v in self.params.items()}
        found = {}

        def note(layer, args, out):
            found["w"] = layer.weight.detach()

        handle = self.module.get_submodule(path).register_forward_hook(note)
        torch.func.functional_call(self.module, tensors, (self.x,))
        handle.remove()
        return found["w"].flatten(1)

    def end(self):
        measured = self.strategy.accumulate(self.net, self.params, self.state, self.batch)
        done = type("Done", (), {"accumulated": measured})()
        self.params, self.state = self.strategy.end_task(self.net, self.params, self.state, done)
        self.batch = dataclasses.replace(self.batch, phase=self.strategy.phases(tiny_stream())[1].name)

    def begin(self):
        task = SimpleNamespace(phase=Phase((0,), self.batch.phase))
        self.params, self.state = self.strategy.begin_task(self.net, self.params, self.state, task)

    def slopes(self):
        def loss(params):
            return (self.net.raw(params, self.x, self.batch.task) - self.y).square().mean()

        taken = set(self.strategy.trainable(self.net, self.params, self.batch.phase))
        return {k: g if k in taken else 0 * g for k, g in grad(loss)(self.params).items()}

    def step(self, optimizer, memory, lr, after=True, decay=None):
        slopes = self.strategy.gradient(self.net, self.params, self.state, self.slopes(), self.batch)
        names = self.strategy.trainable(self.net, self.params, self.batch.phase)
        moved, new = optimizer.update({k: self.params[k] for k in names}, slopes, memory, lr, decay)
        moved = {**self.params, **moved}
        memory = {k: {**memory[k], **v} if isinstance(v, dict) else v for k, v in new.items()}
        if after:
            step = Step(self.batch, self.params, slopes)
            moved, self.state = self.strategy.after_step(self.net, moved, self.state, step)
        self.params = moved
        return memory

    def train(self, optimizer, lr, steps, after=True, decay=None):
        memory, lr = optimizer.init(self.params), torch.tensor(lr, dtype=torch.float64)
        for _ in range(steps):
            memory = self.step(optimizer, memory, lr, after, decay)
        return self


def linear(out, width):
    return nn.Sequential(nn.Linear(width, out, bias=False))


def task_of(shape, n=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, shape[1], generator=generator), torch.randn(n, shape[0], generator=generator)


def second_task(strategy, shape, module=None):
    """A run at the start of its second task, and the weight's singular vectors then."""
    torch.manual_seed(0)
    run = Run(strategy, module or linear(*shape), *task_of(shape))
    run.end()
    before = run.weight()
    run.begin()
    return run, before


def leak(change, before, k, family):
    """The largest entry of the change in what the family protects."""
    u, _, v = torch.linalg.svd(before, full_matrices=False)
    u, v = u[:, :k], v[:k]
    held = {"paper": [u.T @ change @ v.T], "input": [change @ v.T]}.get(family, [u.T @ change, change @ v.T])
    return max(h.abs().max().item() for h in held)


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (9, 9), (1, 5)])
@pytest.mark.parametrize(("form", "family"), FORMS)
def test_decomposing_changes_no_weight(form, family, shape):
    strategy = AdaptiveSVD(ratio=0.5, form=form, family=family, head=True)
    run, before = second_task(strategy, shape)
    assert (run.weight() - before).abs().max() < 1e-5
    high = run.state["high"]["0"]
    assert (high["s"] > 0).sum() == min(shape) // 2  # and at least one direction is left to train
    if form == "factors":
        base = run.params["0.parametrizations.weight.original"]
        torch.testing.assert_close((high["u"] * high["s"]) @ high["v"], base, rtol=0, atol=1e-5)
    run.train(SGD(), 0.0, 1)
    assert (run.weight() - before).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(12, 8), (8, 12)])
# Half is kept; a fixed ratio has no room for factors that are never trained, an adaptive one masks them.
@pytest.mark.parametrize(("ratios", "room"), [({"ratio": 0.5}, 4), ({"mrr": 0.25, "trr": 0.5}, 6)])
def test_every_trained_factor_has_a_gradient_and_what_is_kept_has_none(shape, ratios, room):
    run, _ = second_task(AdaptiveSVD(head=True, **ratios), shape)
    slopes = run.strategy.gradient(run.net, run.params, run.state, run.slopes(), run.batch)
    names = {f: f"0.parametrizations.weight.0.{f}" for f in "usv"}
    columns = {
        "u": slopes[names["u"]].norm(dim=0),
        "s": slopes[names["s"]].abs(),
        "v": slopes[names["v"]].norm(dim=1),
    }
    for size in columns.values():
        assert len(size) == room
        assert (size[:-4] == 0).all()
        assert (size[-4:] > 1e-6).all()
    assert not slopes["0.parametrizations.weight.original"].any()
    high = run.state["high"]["0"]
    assert (high["u"].T @ slopes[names["u"]]).abs().max() < 1e-6
    assert (slopes[names["v"]] @ high["v"].T).abs().max() < 1e-6


@pytest.mark.parametrize("steps", [100, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", [(12, 8), (8, 12)])
@pytest.mark.parametrize(("form", "family"), FORMS)
def test_what_is_protected_stays_through_all_steps_of_adamw(form, family, shape, steps):
    strategy = AdaptiveSVD(ratio=0.5, form=form, family=family, head=True)
    run, before = second_task(strategy, shape)
    run.train(AdamW(), 1e-3, steps, decay=torch.tensor(0.01))
    change = run.weight() - before
    assert leak(change, before, 4, family) < 1e-5
    assert change.abs().max() > 0.05
    # What a weaker family leaves free moves.
    if family != "two-sided":
        assert leak(change, before, 4, "two-sided") > 0.01


@pytest.mark.parametrize("form", ["factors", "matrix"])
def test_projecting_the_gradient_alone_leaks_with_adamw(form):
    run, before = second_task(AdaptiveSVD(ratio=0.5, form=form, head=True), (12, 8))
    run.train(AdamW(), 1e-3, 300, after=False)
    assert leak(run.weight() - before, before, 4, "two-sided") > 0.05


@pytest.mark.parametrize("form", ["factors", "matrix"])
def test_the_outputs_of_the_first_task_stay_on_a_square_linear_model(form):
    # Task A's inputs fill ten of twenty dimensions, those of the top ten right singular vectors.
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(20, 20, generator=generator)).Q for _ in range(2))
    model = linear(20, 20)
    model[0].weight.data = left @ torch.diag(torch.tensor([1.0] * 10 + [0.1] * 10)) @ right.T
    a = torch.randn(50, 10, generator=generator) @ right[:, :10].T
    changes = []
    for after in (True, False):
        run, before = second_task(AdaptiveSVD(ratio=0.5, form=form, head=True), (20, 20), model)
        outputs = run.outputs(a)
        run.train(AdamW(), 1e-2, 250, after=after)
        assert (run.weight() - before).abs().max() > 0.3
        changes.append((run.outputs(a) - outputs).abs().max().item())
    assert changes[0] < 1e-5
    assert changes[1] > 1.0


@pytest.mark.parametrize("form", ["factors", "matrix"])
def test_the_next_task_decomposes_afresh_and_the_state_does_not_grow(form):
    run, _ = second_task(AdaptiveSVD(ratio=0.5, form=form, head=True), (12, 8))
    first = run.state["high"]["0"]
    run.train(AdamW(), 1e-2, 100)
    run.end()
    moved = run.weight()
    run.begin()
    second = run.state["high"]["0"]
    assert (run.weight() - moved).abs().max() < 1e-5
    projector = [h["u"] @ h["u"].T for h in (first, second)]
    assert (projector[0] - projector[1]).abs().max() > 0.05
    u = torch.linalg.svd(moved)[0][:, :4]
    torch.testing.assert_close(projector[1], u @ u.T, rtol=0, atol=1e-4)
    assert [v.shape for v in first.values()] == [v.shape for v in second.values()]
    run.train(AdamW(), 1e-2, 100)
    assert leak(run.weight() - moved, moved, 4, "two-sided") < 1e-5


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_convolution_weights_are_matrices_of_filters(form, family):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 2), nn.Flatten(), nn.Linear(32, 2))
    x, y = torch.randn(6, 3, 3, 3), torch.randn(6, 2)
    run = Run(AdaptiveSVD(ratio=0.5, form=form, family=family), model, x, y)
    run.end()
    before = run.weight()
    run.begin()
    assert set(run.state["high"]) == {"0"}
    run.train(AdamW(), 1e-2, 100)
    change = run.weight() - before
    assert before.shape == (8, 12)
    assert leak(change, before, 4, family) < 1e-5
    assert change.abs().max() > 0.05


def test_retain_ratios_follow_the_cosines_by_hand():
    # W = 1: cosine 1; the rotation by 60 degrees: 1/2; mean 3/4. W = -1: -1, which counts as 0.
    c, s = 0.5, math.sqrt(0.75)
    layers = [nn.Linear(2, 2, bias=False) for _ in range(2)]
    layers[0].weight.data = torch.eye(2)
    layers[1].weight.data = torch.tensor([[c, -s], [s, c]])
    model = nn.Sequential(*layers, nn.Linear(2, 7), nn.Linear(7, 2))
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    for form in ("factors", "matrix"):
        run = Run(AdaptiveSVD(mrr=0.2, trr=0.5, form=form), model, x, y)
        assert list(run.strategy._retained(run.state).values()) == [0.5] * 3  # nothing measured yet
        run.end()
        found = {k: v.item() for k, v in run.strategy._retained(run.state).items()}
        assert found == pytest.approx({"0": 0.2 + 0.3 * 4 / 3, "1": 0.2 + 0.3 * 2 / 3, "2": 0.5}, abs=1e-6)
        assert run.state["cosine"]["0"].tolist() == pytest.approx([5, 5])
    layers[1].weight.data = -torch.eye(2)
    run = Run(AdaptiveSVD(mrr=0.2, trr=1.0), model, x, y)
    run.end()
    # Importances 2 and 0: ratios 1.8, clamped, and mrr.
    found = [run.strategy._retained(run.state)[k].item() for k in "01"]
    assert found == pytest.approx([1.0, 0.2], abs=1e-6)


def test_cosines_are_averaged_over_all_earlier_tasks_and_padding_is_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]])  # cosine 1 along one axis, -1 the other
    x = torch.eye(2)[[0, 0, 0, 1]]
    run = Run(AdaptiveSVD(), model, x, torch.zeros(4, 2))
    run.batch.weight[3] = 0.0
    run.end()
    assert run.state["cosine"]["0"].tolist() == [3, 3]
    run.batch.weight[3] = 1.0
    run.end()
    assert run.state["cosine"]["0"].tolist() == [5, 7]


@pytest.mark.parametrize(
    ("ratio", "size", "rank"), [(0.8, 10, 8), (0.39, 10, 3), (1.0, 10, 9), (0.29, 100, 29)]
)
def test_ranks_are_rounded_down_and_leave_a_direction(ratio, size, rank):
    run, _ = second_task(AdaptiveSVD(ratio=ratio, head=True), (size, size))
    assert (run.state["high"]["0"]["s"] > 0).sum() == rank
    assert (run.params["0.parametrizations.weight.0.s"] > 0).sum() == size - rank


def test_the_first_task_is_free_unless_asked():
    for first in (False, True):
        run = Run(AdaptiveSVD(ratio=0.5, head=True, first=first), linear(6, 6), *task_of((6, 6)))
        before = run.weight()
        run.begin()
        run.train(AdamW(), 1e-2, 50)
        assert (leak(run.weight() - before, before, 3, "two-sided") < 1e-5) == first


def test_replicas_that_diverge_do_not_stop_the_others():
    run = Run(AdaptiveSVD(ratio=0.5, head=True), linear(6, 4), *task_of((6, 4)))
    run.end()
    run.params["0.parametrizations.weight.original"][0, 0] = torch.nan
    run.begin()
    assert run.weight().isnan().any()
    assert all(v.isfinite().all() for v in run.state["high"]["0"].values())


@pytest.mark.parametrize(
    "strategy",
    [
        AdaptiveSVD(ratio=0.5, form="matrix", first=True),
        AdaptiveSVD(family="paper", form="matrix", head=True),
        AdaptiveSVD(ratio=0.5, family="input", rest=False),
    ],
    ids=str,
)
def test_it_keeps_the_contract(strategy, level):
    check_strategy(strategy, level=level)


@pytest.mark.parametrize("form", ["factors", "matrix"])
@pytest.mark.parametrize("model", ["mlp(hidden=[8, 8])", "cnn(channels=[4, 8], hidden=16)"])
def test_a_replica_learns_the_same_alone_as_among_three(form, model):
    stream = "split-digits(classes_per_task=5)"
    terms = {"model": model, "epochs": 1, "batch_size": 128, "optimizer": "adamw", "lr": 3e-3}
    terms |= {"quiet": True, "dtype": "float64"}
    strategy = f"adaptive-svd(form={form!r})"
    three = compare(stream, [strategy], seeds=[0, 1, 2], **terms).scores.values()
    alone = compare(stream, [strategy], seeds=[2], **terms).scores.values()
    np.testing.assert_array_equal(next(iter(three))[2:], next(iter(alone)))
    naive = compare(stream, ["naive"], seeds=[2], **terms).scores.values()
    assert (next(iter(naive)) != next(iter(alone))).any()


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ({"mrr": -0.1}, "mrr, a retain ratio, must lie in .0, 1.; found -0.1"),
        ({"trr": 1.5}, "trr, a retain ratio, must lie in .0, 1.; found 1.5"),
        ({"ratio": 2}, "ratio, a retain ratio, must lie in .0, 1.; found 2"),
        ({"ratio": math.nan}, "ratio must be a finite number"),
        ({"family": "both"}, "family must be"),
        ({"form": "vectors"}, "form must be"),
        ({"family": "paper"}, "'matrix' for family 'paper'; found 'factors'"),
    ],
)
def test_bad_settings_are_one_line(terms, line):
    with pytest.raises(PerdureError, match=line) as caught:
        AdaptiveSVD(**terms)
    assert "\n" not in str(caught.value)


def test_models_that_it_cannot_take():
    with pytest.raises(PerdureError, match="besides the head"):
        AdaptiveSVD().extend(nn.Linear(4, 2), tiny_stream())
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(PerdureError, match=r"0\.weight is shared"):
        AdaptiveSVD().extend(tied, tiny_stream())
    run = Run(AdaptiveSVD(form="matrix"), tied, torch.randn(3, 4), torch.randn(3, 2))
    assert list(run.state["high"]) == ["0"]


def test_each_task_after_the_first_starts_with_fresh_optimiser_memory():
    assert [phase.reset for phase in AdaptiveSVD().phases(tiny_stream())] == [False, True, True]


def test_frozen_layers_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)).requires_grad_(False)
    model[1].requires_grad_(True)
    names = [k for k, p in AdaptiveSVD().extend(model, tiny_stream()).named_parameters() if p.requires_grad]
    assert [k.partition(".")[0] for k in names] == ["1"] * 5


@pytest.mark.parametrize("form", ["factors", "matrix"])
def test_biases_and_norms_can_be_left_at_rest(form):
    start = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    strategy = AdaptiveSVD(ratio=0.5, form=form, rest=False)
    results = compare(
        "split-digits | take(2)", [strategy], model=start, pretrained=True, seeds=1, epochs=1,
        optimizer="adamw", lr=0.01, quiet=True, keep=True,
    )  # fmt: skip
    (trained,), moved = results.trained.values(), set()
    end = trained.params()
    for name, before in start.named_parameters():
        after = end[name] if name in end else end["0.parametrizations.weight.original"]
        if not torch.equal(before, after):
            moved.add(name)
    assert moved == {"0.weight", "4.weight", "4.bias"}
    if form == "factors":
        assert end["0.parametrizations.weight.0.s"].any()


def test_the_model_given_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    AdaptiveSVD().extend(model, tiny_stream())
    assert list(dict(model.named_parameters())) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def osf(weight, rank):
    """PEFT's layer of the same weight, and its three factors."""
    peft = pytest.importorskip("peft", reason="PEFT, the oracle, is not installed")
    model = linear(*weight.shape)
    model[0].weight.data = weight.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, peft.OSFConfig(effective_rank=rank, target_modules=["0"]))


def osf_weight(model):
    layer = model.base_model.model[0]
    return (layer.get_base_layer().weight + layer.get_delta_weight("default")).detach()


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (9, 9)])
def test_with_sgd_the_trajectory_is_that_of_peft(shape):
    run, before = second_task(AdaptiveSVD(ratio=0.5, head=True), shape)
    other = osf(before, min(shape) // 2)
    optimizer = torch.optim.SGD([p for p in other.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    memory = SGD(momentum=0.9).init(run.params)
    for _ in range(100):
        optimizer.zero_grad()
        (other(run.x) - run.y).square().mean().backward()
        optimizer.step()
        memory = run.step(SGD(momentum=0.9), memory, torch.tensor(0.05))
        assert (run.weight() - osf_weight(other)).abs().max() < 1e-5
    assert (run.weight() - before).abs().max() > 0.05


def test_with_adamw_peft_leaks_and_this_does_not():
    run, before = second_task(AdaptiveSVD(ratio=0.5, head=True), (12, 8))
    other = osf(before, 4)
    trained = [p for p in other.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    for _ in range(300):
        optimizer.zero_grad()
        (other(run.x) - run.y).square().mean().backward()
        optimizer.step()
    run.train(AdamW(), 1e-3, 300)
    assert leak(osf_weight(other) - before, before, 4, "two-sided") > 0.05
    assert leak(run.weight() - before, before, 4, "two-sided") < 1e-5


def test_a_pretrained_network_goes_on():
    torch.manual_seed(0)
    hidden = [part for _ in range(2) for part in (nn.Linear(32, 32), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), *hidden, nn.Linear(32, 10))
    stream = get_stream("permuted-digits(tasks=3)")
    x, y = stream[0].train.inputs(), stream[0].train.y
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    names = [
        "naive",
        *(f"adaptive-svd(ratio={r}, form='matrix')" for r in (0.0, 0.5)),
        "adaptive-svd(ratio=0.8)",
        "adaptive-svd",
    ]
    results = compare(
        stream, names, model=model, pretrained=True, seeds=2, epochs=1, quiet=True, dtype="float64"
    )
    naive, zero, *others = results.scores.values()
    # Nothing kept, the matrix form is plain training; the first task is so in all of them.
    np.testing.assert_allclose(zero, naive, atol=1e-9)
    for scores in others:
        np.testing.assert_allclose(scores[:, :1], naive[:, :1], atol=1e-9)
        assert np.abs(scores[:, 1:] - naive[:, 1:]).max() > 0.001
    # Two square layers have cosines of their own.
    assert (results.scores["adaptive-svd"] != results.scores["adaptive-svd(ratio=0.8)"]).any()


@dataclasses.dataclass(frozen=True)
class Remembers(Strategy):
    """Keeps the weights as they were when the first task had been learned."""

    name = "remembers"

    def init(self, net, params, stream):
        return {"first": {k: torch.zeros_like(v) for k, v in params.items()}}

    def end_task(self, net, params, state, task):
        return params, {"first": dict(params)} if task.phase.tasks == (0,) else state


def whole(params, layer):
    """The weight of a layer, from its factors where it has them."""
    if f"{layer}.weight" in params:
        return params[f"{layer}.weight"]
    u, s, v = (params[f"{layer}.parametrizations.weight.0.{f}"] for f in "usv")
    return params[f"{layer}.parametrizations.weight.original"] + (u * s) @ v


@pytest.mark.slow
@pytest.mark.parametrize("form", ["factors", "matrix"])
def test_through_the_engine_too_what_is_protected_stays_for_3000_steps(form):
    generator = torch.Generator().manual_seed(0)
    x = [torch.randn(32, 20, generator=generator) for _ in range(2)]
    tasks = [
        ((v, (v[:, t] > 0).long() + 2 * (v[:, t + 2] > 0)), (v + 9, torch.zeros(32, dtype=torch.int64)))
        for t, v in enumerate(x)
    ]
    results = compare(
        from_arrays(tasks, setting="domain", outputs=4),
        {"svd": Remembers() + AdaptiveSVD(ratio=0.5, form=form)},
        model="mlp(hidden=[20, 20])", seeds=2, epochs=3000, batch_size=32, optimizer="adamw", lr=1e-3,
        quiet=True, keep=True,
    )  # fmt: skip
    trained = results.trained["svd"]
    weights = [whole(params, "2") for params in (trained.state("remembers", 1)["first"], trained.params(1))]
    change = weights[1] - weights[0]
    assert change.abs().max() > 0.05
    assert leak(change, weights[0], 10, "two-sided") < 1e-5


def test_under_autocast_the_weight_is_added_up_in_full_precision():
    torch.manual_seed(0)
    model = AdaptiveSVD(ratio=0.5, head=True).extend(linear(12, 8), tiny_stream())
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    whole = model[0].weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model[0](torch.ones(2, 8)).dtype == torch.bfloat16
        assert torch.equal(model[0].weight, whole)
