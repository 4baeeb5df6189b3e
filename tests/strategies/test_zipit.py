"""Models merged by joining the features that are most alike."""

import math

import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch, weigh
from perdure.core.random import Rng
from perdure.models.backbones.cnn import cnn
from perdure.strategies import Merge, get
from perdure.strategies.merging import ZipIt
from perdure.strategies.merging.zipit import aligned, correlations, zipped
from perdure.strategies.parts.chain import chain
from perdure.testing import tiny_model, tiny_norm, tiny_stream

TERMS = {"seeds": 2, "epochs": 2, "batch_size": 4, "lr": 0.05, "quiet": True, "keep": True}


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=zipit(steps=2))"), level=level)


def net_of(module, outputs=2):
    """The model of a stream as the engine would have it, and its weights."""
    from perdure.core.net import Net
    from perdure.testing import tiny_stream

    return Net(module, {}, None, tiny_stream("domain").objective), {
        k: v.detach() for k, v in module.double().named_parameters()
    }


def zipped_model(rule, module, tasks, x):
    """What models merge to on samples."""
    net, base = net_of(module)
    fit = rule.begin(net, base, len(next(iter(tasks.values()))), x.shape[1:])
    zero = torch.zeros(len(x), dtype=torch.int64)
    rows = weigh({"x": x, "y": zero, "task": zero}, torch.ones(len(x)).double())
    batch = Batch(rows, zero[0], Rng(zero[0], zero[0]))
    fit = rule.learn(net, base, tasks, fit, None, batch)
    fit = rule.conclude(net, fit, None, type("Task", (), {"index": len(next(iter(tasks.values()))) - 1}))
    return rule.build(base, tasks, fit["values"]), fit["values"], net


def turned(module, params, source):
    """The same function with the hidden features of a chain in another order."""
    layers, new, before = list(chain(module, "test")), dict(params), None
    for i, name in enumerate(layers):
        w = new[f"{name}.weight"]
        if before is not None:
            blocks = w.reshape(len(w), len(before), -1)[:, before]
            w = blocks.reshape(w.shape)
        order = torch.randperm(len(w), generator=source) if i < len(layers) - 1 else torch.arange(len(w))
        new[f"{name}.weight"], new[f"{name}.bias"] = w[order], new[f"{name}.bias"][order]
        before = order
    return new


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("kind", ["perceptron", "convolutions"])
def test_models_whose_features_stand_in_another_order_are_the_same_model(kind, within):
    torch.manual_seed(0)
    if kind == "perceptron":
        module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
        x = torch.randn(60, 5).double()
    else:
        module, x = cnn(channels=(4, 3), hidden=5)((2, 8, 8), 3), torch.randn(30, 2, 8, 8).double()
    _, params = net_of(module)
    source = torch.Generator().manual_seed(1)
    each = [turned(module, params, source) for _ in range(3)]
    assert all(not torch.allclose(one[k], params[k]) for one in each for k in list(params)[:1])
    tasks = {k: torch.stack([one[k] for one in each]) for k in params}
    merged, _, net = zipped_model(ZipIt(within=within), module, tasks, x)
    zero = torch.zeros((), dtype=torch.int64)
    assert torch.allclose(net(merged, x, zero), net(params, x, zero), atol=1e-6)
    mean = {k: v.mean(0) for k, v in tasks.items()}
    assert not torch.allclose(net(mean, x, zero), net(params, x, zero), atol=1e-2)


def test_one_model_stays_and_the_order_of_models_does_not_matter():
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)), torch.randn(50, 5).double()
    _, params = net_of(module)
    tasks = {k: torch.randn(3, *v.shape).double() for k, v in params.items()}
    alone, _, net = zipped_model(ZipIt(), module, {k: v[:1] for k, v in tasks.items()}, x)
    assert all(torch.allclose(alone[k], v[0]) for k, v in tasks.items())
    order, zero = torch.tensor([2, 0, 1]), torch.zeros((), dtype=torch.int64)
    one, _, _ = zipped_model(ZipIt(alpha=0.5), module, tasks, x)
    two, _, _ = zipped_model(ZipIt(alpha=0.5), module, {k: v[order] for k, v in tasks.items()}, x)
    assert torch.allclose(net(one, x, zero), net(two, x, zero))


def test_by_hand():
    # Two models of two features: 0 and 1 of the first model are alike (0.9), then 2 and the pair (0.6).
    alike = torch.eye(4).double()
    for i, j, c in ((0, 1, 0.9), (0, 2, 0.8), (1, 2, 0.6), (1, 3, 0.1), (2, 3, 0.5), (0, 3, 0.2)):
        alike[i, j] = alike[j, i] = c
    assert zipped(alike, 2, 1.0).tolist() == [[[1, 0], [1, 0]], [[1, 0], [0, 1]]]
    # Where groups are kept small, 0.6 * 0.5 is less than 0.5.
    assert zipped(alike, 2, 0.5).tolist() == [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]
    assert aligned(alike, 2).tolist() == [[[1, 0], [0, 1]], [[1, 0], [0, 1]]]
    mapped = torch.func.vmap(lambda a: zipped(a, 2, 1.0))(torch.stack([alike, alike.flip(0).flip(1)]))
    assert torch.equal(mapped[0], zipped(alike, 2, 1.0))
    assert torch.equal(mapped[1], zipped(alike.flip(0).flip(1), 2, 1.0))
    # Three units of weight -1, 1, 1 read an input 2: (1 - 1) / 2 and the rest.
    values = {"0": torch.tensor([[[1.0, 0], [1, 0]], [[0, 1], [0, 1]]]), "2": torch.ones(2, 1, 1)}
    tasks = {"0.weight": torch.tensor([[[1.0], [3]], [[5], [7]]]), "0.bias": torch.zeros(2, 2),
             "2.weight": torch.tensor([[[1.0, 2]], [[10, 20]]])}  # fmt: skip
    merged = ZipIt().build({}, tasks, values)
    assert merged["0.weight"].tolist() == [[2], [6]]
    assert merged["2.weight"].tolist() == [[1.5, 15]]


def test_groups_are_those_of_complete_linkage():
    from scipy.cluster.hierarchy import fcluster, linkage

    alike = torch.corrcoef(torch.randn(12, 30, generator=torch.Generator().manual_seed(0)).double())
    join = zipped(alike, 4, 1.0).view(12, 4)
    pairs = torch.triu_indices(12, 12, 1)
    found = fcluster(linkage((1 - alike[*pairs]).numpy(), "complete"), 4, "maxclust")
    assert torch.equal(join @ join.T, torch.tensor(found[:, None] == found).double())


def test_correlations_are_those_of_numpy_and_what_does_not_vary_is_apart():
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).double()
    x[:, 3], x[:, 4] = 2.0, 0.0
    found = correlations(x.mean(0), x.T @ x / len(x))
    assert torch.allclose(found[:3, :3], torch.corrcoef(x[:, :3].T))
    assert found[3:, :3].eq(0).all()
    assert found[3:, 3:].eq(1).all()


def test_models_of_other_starts_are_joined_as_alike_as_they_are():
    stream = tiny_stream("domain", tasks=2)
    specs = {"zip": "merge(rule=zipit(steps=4), start=own)"}
    found = compare(stream, specs, model=tiny_model, **TERMS)
    assert all(extras["mapped"] for extras in found.extras.values())
    state = next(iter(found.trained["zip"].replica.state.values()))
    first, (join, _) = state["memory"]["1.weight"], state["fit"]["values"].values()
    assert not torch.allclose(first[:, 0], first[:, 1], atol=0.3)  # not one start with two tasks
    assert join.sum(-1).eq(1).all()  # each feature went somewhere, once
    assert join.sum((1, 2)).ge(1).all()  # and no place is empty
    assert not torch.equal(join[0], join[1])  # each replica has joins of its own


def test_heads_read_the_merged_features(walk):
    stream, rule = tiny_stream("task", tasks=2), ZipIt(steps=3)
    *_, (moment, _, held, state, _) = walk(Merge(rule, start="own"), stream, tiny_model, batch=64)
    state = next(iter(state.values()))
    join, bank = state["fit"]["values"]["1"], state["memory"]
    assert moment == "end"
    for t in range(2):
        own = state["heads"]["3.weight"][2 * t : 2 * t + 2]
        assert torch.allclose(held["3.weight"][2 * t : 2 * t + 2], own @ join[t])
        assert torch.equal(held["3.bias"], state["heads"]["3.bias"])
    size = join.sum((0, 1)).unsqueeze(1)
    assert torch.allclose(held["1.weight"], sum(join[t].T @ bank["1.weight"][t] for t in range(2)) / size)
    x = torch.cat([task.val.x for task in stream]).double().flatten(1)
    seen = torch.cat([(x @ bank["1.weight"][t].T + bank["1.bias"][t]).relu() for t in range(2)], 1)
    # All samples were in each batch.
    expected = zipped(correlations(seen.mean(0), seen.T @ seen / len(x)), 6, 1.0)
    assert torch.equal(join, expected)


def test_own_starts_are_drawn_as_layers_draw_theirs(walk):
    stream = tiny_stream("domain", tasks=2)
    begun = [m for m in walk("merge(start=own)", stream, tiny_model) if m[0] == "begin"]
    for k, fan in (("1.weight", 5), ("1.bias", 5), ("3.weight", 6), ("3.bias", 6)):
        one, two = (moment[2][k] for moment in begun)
        assert (one != two).any()
        assert max(one.abs().max(), two.abs().max()) <= 1 / math.sqrt(fan)


def test_what_cannot_be_followed_is_refused_before_any_work():
    class Own(nn.Module):
        def __init__(self, shape, outputs):
            super().__init__()
            self.layer = nn.Linear(5, outputs)

        def forward(self, x):
            return self.layer(x)

    line = "the merging rule zipit needs a sequence of linear or convolution layers and activations"
    for model, found in ((tiny_norm, "found BatchNorm1d"), (Own, "found Own")):
        with pytest.raises(PerdureError, match=f"{line}, without norms; {found}"):
            compare(tiny_stream(), ["merge(rule=zipit)"], model=model, **TERMS)
    with pytest.raises(PerdureError, match="merge with start=own needs a sequence"):
        compare(tiny_stream(), ["merge(start=own)"], model=tiny_norm, **TERMS)
    layer = nn.Linear(3, 3)
    for model, found in (
        (nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(3, 2)), "found the layer '2' in two places"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), "with a hidden layer; found none"),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(7, 2)), "4 features of '0' in 7 inputs"),
    ):
        with pytest.raises(PerdureError, match=found):
            chain(model, "zipit")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("merge(rule=zipit(alpha=2))", r"alpha must lie in \[0, 1\]; found 2"),
        ("merge(rule=zipit(steps=0))", "steps must be a whole number of at least 1; found 0"),
        ("merge(rule=zipit, scale=0.5)", "moves features to other places: scale must be 1; found 0.5"),
        ("merge(start=own, pretrain=1)", "with start=own weights are drawn .* pretrain must be 0; found 1"),
    ],
)
def test_bad_settings_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        get(spec)
