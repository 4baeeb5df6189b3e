"""Users' layers and operations: recorded as unrecorded, alone as among others, resumed as whole."""

import inspect
import random
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from perdure import PerdureError, compare
from perdure.engine.engine import Engine
from perdure.scenarios import from_arrays
from perdure.strategies import Naive, Strategy
from perdure.training import Training

WIDTH, LENGTH = 8, 4


def stream(tasks=2, samples=24):
    generator = torch.Generator().manual_seed(3)

    def part():
        x = torch.randn(samples, LENGTH, WIDTH, generator=generator)
        y = (x.mean((1, 2)) > 0).long()
        y[:2] = torch.tensor([0, 1])
        return x, y

    return from_arrays([(part(), part()) for _ in range(tasks)], setting="domain", val=0.25)


STREAM = stream()


def numpy_state():
    return np.random.get_state()[1].tobytes()  # noqa: NPY002 (what users' models may draw from)


class Around(nn.Module):
    """``layer`` on features ``[n, length, width]``, with a copy from before it that is read after it."""

    def __init__(self, layer, shape=None):
        super().__init__()
        self.inner, self.layer, self.out = nn.Linear(WIDTH, WIDTH), layer, nn.Linear(WIDTH, 2)
        self.shape = shape

    def forward(self, x):
        h = self.inner(x)
        skip = h.clone()
        h = h if self.shape is None else h.view(len(x), *self.shape)
        h = self.layer(h)
        h = h[0] if isinstance(h, tuple) else h
        return self.out((h.reshape(skip.shape) + skip).mean(1))


class Calls(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h):
        return self.function(h)


class Reads(nn.Module):
    """A norm whose statistics are read before and after they move."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(LENGTH)

    def forward(self, h):
        before = self.norm.running_mean.clone()
        out, seen = self.norm(h), self.norm.running_var.detach()
        return out + (before - self.norm.running_mean + seen).view(-1, 1)


class Attention(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, dropout=dropout, batch_first=True)

    def forward(self, h):
        return self.attention(h, h, h)[0]


def activations():
    """Every activation of torch.nn that maps a tensor to one of its shape, and in place where it can."""
    for name in sorted(nn.modules.activation.__all__):
        kind = getattr(nn, name)
        needed = [
            p for p in inspect.signature(kind).parameters.values()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        arguments = {"Threshold": (0.1, 0.2)}.get(name, ())
        if name in ("GLU", "MultiheadAttention") or len(needed) != len(arguments):
            continue
        if name in ("Softmax", "LogSoftmax", "Softmin"):
            yield name, lambda kind=kind: Around(kind(dim=-1))
        elif name == "Softmax2d":
            yield name, lambda kind=kind: Around(kind(), (LENGTH, 2, WIDTH // 2))
        else:
            yield name, lambda kind=kind, arguments=arguments: Around(kind(*arguments))
        if "inplace" in inspect.signature(kind).parameters:
            yield f"{name}(inplace=True)", lambda kind=kind, a=arguments: Around(kind(*a, inplace=True))


FUNCTIONS = {
    "clamp_": lambda h: h.clamp_(-0.1, 0.1),
    "masked_fill_": lambda h: h.masked_fill_(h < 0, 0.0),
    "mul_": lambda h: h.mul_(2.0),
    "copy_": lambda h: h.copy_(h.detach().sin()),
    "index_put_": lambda h: h.index_put_((torch.tensor([0]),), h.new_zeros(1)),
    "fill a slice": lambda h: h.index_fill_(1, torch.tensor([1]), 0.5),
    "slice assignment": lambda h: _assign(h),
    "relu_ of h * 1.0": lambda h: torch.relu_(h * 1.0) + h,
    "+= after a view": lambda h: _add_to_view(h),
    "randn_like": lambda h: h + 0.1 * torch.randn_like(h),
    "rand_like": lambda h: h * (torch.rand_like(h) < 0.8),
    "randn": lambda h: h + 0.1 * torch.randn(h.shape[1:]),
    "randint": lambda h: h * torch.randint(1, 3, h.shape),
    "bernoulli of a tensor": lambda h: h * torch.bernoulli(torch.sigmoid(h)),
    "new_empty bernoulli_ (stochastic depth)": lambda h: h * h.new_empty(len(h), 1, 1).bernoulli_(0.7),
    "torch.dropout": lambda h: torch.dropout(h, 0.5, True),
    "torch.normal": lambda h: torch.normal(h, 0.1),
    "gumbel_softmax": lambda h: nn.functional.gumbel_softmax(h, hard=True),
    "multinomial": lambda h: h * torch.multinomial(h[:, 0].softmax(1), 2).sum(1).view(-1, 1, 1),
    "randperm": lambda h: h[torch.randperm(len(h))],
    "normal_ on a tensor of its own": lambda h: h + torch.empty(h.shape[1:]).normal_(),
    "exponential_": lambda h: h * torch.empty_like(h).exponential_(2.0),
    "geometric_": lambda h: h * torch.empty_like(h).geometric_(0.5),
    "cauchy_": lambda h: h + torch.empty_like(h).cauchy_().clamp(-1, 1),
    "log_normal_": lambda h: h * torch.empty_like(h).log_normal_(0.0, 0.1),
    "uniform_": lambda h: h * torch.empty_like(h).uniform_(0.5, 1.5),
    "random_": lambda h: h * torch.empty_like(h).random_(1, 3),
}


def _assign(h):
    h[:, 0] = h[:, 1]
    return h


def _add_to_view(h):
    first = h[:, 0]
    first += 1.0
    return h


def layers():
    yield from activations()
    for name, function in FUNCTIONS.items():
        yield name, lambda function=function: Around(Calls(function))
    for name, shape in (
        ("Dropout", None), ("Dropout1d", None), ("Dropout2d", (LENGTH, 2, WIDTH // 2)),
        ("Dropout3d", (LENGTH, 2, 2, WIDTH // 4)), ("AlphaDropout", None), ("FeatureAlphaDropout", None),
    ):  # fmt: skip
        for more in ({}, {"inplace": True}):
            kind = getattr(nn, name)
            yield f"{name}({more})", lambda k=kind, s=shape, m=more: Around(k(0.3, **m), s)
    for name, norm in {
        "BatchNorm1d": lambda: nn.BatchNorm1d(LENGTH), "BatchNorm without statistics": lambda: nn.BatchNorm1d(
            LENGTH, track_running_stats=False
        ), "BatchNorm, cumulative": lambda: nn.BatchNorm1d(LENGTH, momentum=None),
        "LayerNorm": lambda: nn.LayerNorm(WIDTH), "RMSNorm": lambda: nn.RMSNorm(WIDTH),
        "GroupNorm": lambda: nn.GroupNorm(2, LENGTH), "InstanceNorm1d": lambda: nn.InstanceNorm1d(LENGTH),
        "InstanceNorm1d with statistics": lambda: nn.InstanceNorm1d(LENGTH, track_running_stats=True),
        "LocalResponseNorm": lambda: nn.LocalResponseNorm(2),
    }.items():  # fmt: skip
        yield name, lambda norm=norm: Around(norm())
    yield "statistics of a norm, read before and after", lambda: Around(Reads())
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        for dropout in (0.0, 0.3):
            yield (
                f"{kind.__name__}(dropout={dropout})",
                lambda k=kind, d=dropout: Around(k(WIDTH, WIDTH, 2, dropout=d, batch_first=True)),
            )
    for dropout in (0.0, 0.1):
        yield f"MultiheadAttention({dropout})", lambda d=dropout: Around(Attention(d))
        yield (
            f"TransformerEncoderLayer({dropout})",
            lambda d=dropout: Around(nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=d, batch_first=True)),
        )


LAYERS = dict(layers())


def engine(model, seeds=(0, 1), recorded=True, strategy=None):
    training = Training(1, 8, lr=0.05, device="cpu", dtype="float64")
    made = Engine(STREAM, strategy or Naive(), training, lambda shape, outputs: model(), seeds)
    if not recorded:
        made.mapper.mapped = False
        made.program = replace(made.program, mappable=False)
    return made


def trained(made, upto=None, start=None):
    """Return parameters and scores after so many phases, or all; ``start`` goes on from the first."""
    replica = made.start() if start is None else start
    for phase in made.strategy.phases(STREAM)[0 if start is None else 1 : upto]:
        data = made.load(phase)
        replica = made.boundary(replica, phase, data, "begin_task")
        for replica in made.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = made.boundary(replica, phase, data, "end_task")
    return replica, made.evaluate(replica)


def apart(one, other, rows=slice(None), others=slice(None)):
    params = max(float((v[rows] - other[0].params[k][others]).abs().max()) for k, v in one[0].params.items())
    return max(params, float((one[1][rows] - other[1][others]).abs().max()))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:the model or strategy cannot be mapped", "ignore:.*batching rule")
def test_a_layer_trains_the_same_recorded_or_not_alone_or_not_whole_or_resumed(name):
    generators = torch.get_rng_state(), random.getstate(), numpy_state()
    made = engine(LAYERS[name])
    first = pytree.tree_map(torch.clone, trained(made, upto=1)[0])
    whole = trained(made, start=pytree.tree_map(torch.clone, first))
    alone = trained(engine(LAYERS[name], seeds=(1,), recorded=False))
    assert apart(whole, alone, slice(1, 2)) < 1e-9
    torch.manual_seed(99)
    random.seed(99)
    again = engine(LAYERS[name])
    again.start()
    again.step_count = again.costs.steps = len(STREAM[0].train) // 8 + (len(STREAM[0].train) % 8 > 0)
    assert apart(whole, trained(again, start=first)) == 0
    torch.set_rng_state(generators[0])
    random.setstate(generators[1])


def test_training_draws_from_no_global_generator():
    before = torch.get_rng_state(), random.getstate(), numpy_state()
    trained(engine(LAYERS["Dropout({})"]))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), numpy_state())


def test_dropout_differs_by_seed_and_by_step():
    seen = []

    class Watch(nn.Module):
        def forward(self, h):
            dropped = nn.functional.dropout(torch.ones_like(h), 0.5, self.training)
            seen.append(dropped)
            return h

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Around(Watch())

        def forward(self, x):
            return self.body(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained(engine(Model, seeds=(0,), recorded=False))
    masks = [m for m in seen if bool((m != 1).any())]
    assert len(masks) > 4
    assert not any(torch.equal(a, b) for a, b in pairwise(masks) if a.shape == b.shape)
    assert 0.3 < float(torch.stack([(m == 0).double().mean() for m in masks]).mean()) < 0.7


def test_a_model_that_draws_when_it_scores_scores_the_same_again():
    model = lambda: Around(Calls(lambda h: h + torch.randn_like(h)))  # noqa: E731
    one, other = (trained(engine(model)) for _ in range(2))
    assert apart(one, other) == 0
    assert apart(one, trained(engine(model, recorded=False))) < 1e-9


@pytest.mark.parametrize(
    ("source", "draw"),
    [
        ("Python's `random`", lambda: random.random()),
        ("`numpy.random`", lambda: float(np.random.rand())),  # noqa: NPY002
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_draws_that_no_seed_could_own_are_refused_by_name(source, draw, recorded):
    model = lambda: Around(Calls(lambda h: h * draw()))  # noqa: E731
    with pytest.raises(PerdureError, match=source):
        trained(engine(model, recorded=recorded))


def test_a_generator_of_the_models_own_is_refused_by_name():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.noise = np.random.default_rng(0)

        def forward(self, h):
            return h * self.noise.random()

    with pytest.raises(PerdureError, match="Noisy's `noise`"):
        trained(engine(lambda: Around(Noisy())))


def test_an_operation_that_cannot_be_drawn_per_seed_is_refused_by_name():
    model = lambda: Around(Calls(lambda h: h + torch.poisson(h.abs())))  # noqa: E731
    with pytest.raises(PerdureError, match=r"aten\.poisson"):
        trained(engine(model))


def test_a_number_that_a_model_counts_in_python_is_a_warning():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, h):
            self.calls += 1
            return h * (1.0 / self.calls)

    with pytest.warns(RuntimeWarning, match="Counts's `calls`"):
        trained(engine(lambda: Around(Counts())))


@dataclass(frozen=True)
class GlobalDraws(Strategy):
    name: ClassVar[str] = "global-draws"

    def gradient(self, net, params, state, grads, batch):
        return {k: g + 0.0 * torch.randn_like(g) for k, g in grads.items()}


def test_a_strategy_that_draws_from_the_global_generator_is_refused():
    with pytest.raises(PerdureError, match=r"batch\.rng"):
        trained(engine(LAYERS["ReLU"], strategy=GlobalDraws()))


@dataclass(frozen=True)
class Writes(Strategy):
    name: ClassVar[str] = "writes"

    def init(self, net, params, stream):
        return {"seen": torch.zeros(())}

    def after_step(self, net, params, state, step):
        state["seen"].add_(1.0)
        return params, state


def test_a_hook_that_writes_on_its_state_is_refused():
    with pytest.raises(PerdureError, match="writes in place"):
        trained(engine(LAYERS["ReLU"], strategy=Writes()))


def test_a_model_that_writes_on_its_inputs_leaves_the_data_alone():
    class Centres(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Around(nn.ReLU())

        def forward(self, x):
            return self.body(x.sub_(1.0))

    made = engine(Centres, recorded=False)
    before = [rows["x"].clone() for rows, _ in made.test.chunks]
    one = trained(made)
    assert all(torch.equal(b, c[0]["x"]) for b, c in zip(before, made.test.chunks, strict=True))
    assert apart(one, trained(engine(Centres))) < 1e-9


def test_seeds_of_a_model_that_numpy_initialises_differ_and_repeat():
    def model():
        net = nn.Sequential(nn.Flatten(), nn.Linear(LENGTH * WIDTH, 2))
        net[1].weight.data = torch.tensor(np.random.randn(2, LENGTH * WIDTH)).float()  # noqa: NPY002
        return net

    one, other = engine(model).start().params, engine(model).start().params
    assert torch.equal(one["1.weight"], other["1.weight"])
    assert not torch.equal(one["1.weight"][0], one["1.weight"][1])


def test_starting_again_is_starting_afresh():
    made = engine(LAYERS["ReLU"])
    first = {k: v.clone() for k, v in made.start().params.items()}
    trained(made)
    assert all(torch.equal(v, first[k]) for k, v in made.start().params.items())


def test_compare_gives_the_same_again_with_dropout_in_a_recurrent_net():
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        results = compare(
            STREAM, ["naive"], model=lambda shape, outputs: LAYERS["LSTM(dropout=0.3)"](), seeds=2, quiet=True
        )
        runs.append(results.scores["naive"])
    assert np.array_equal(*runs)
