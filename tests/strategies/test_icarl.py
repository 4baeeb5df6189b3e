"""iCaRL."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.engine.engine import Engine
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification, from_arrays
from perdure.strategies import ICaRL, get
from perdure.strategies.replay.icarl import class_means, distances, features, herd, herding, surrogate
from perdure.testing import check_strategy, tiny_model, tiny_stream
from perdure.training import Training


def circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def random_units(n, width=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=-1)


# ---- herding ------------------------------------------------------------------------------------------


def test_herding_by_hand():
    # (1, 0), (1/2, 0.87) and (0, 1) have the mean (0.5, 0.62): the second is nearest. The second with the
    # first has the mean (0.75, 0.43), 0.31 away; with the third (0.25, 0.93), 0.40 away.
    assert herding(circle(0, 60, 90), 3).tolist() == [1, 0, 2]
    # North, south and thrice east, with the mean (0.6, 0): east first; of two easts the mean is 0.4 away,
    # of east and north sqrt(0.26) away. Three easts are 0.4 away, two with north sqrt(0.005 + 1/9) = 0.34.
    # North and south alike are equally good: the first comes first.
    assert herding(circle(90, -90, 0, 0, 0), 5).tolist() == [2, 3, 0, 1, 4]
    assert herding(circle(90, -90, 0, 0, 0), 2).tolist() == [2, 3]


def test_what_is_equally_near_up_to_rounding_is_taken_in_order():
    # Two samples are equally far from their mean, but for rounding.
    assert all(herding(random_units(2, 7, seed), 2).tolist() == [0, 1] for seed in range(30))


def test_each_pick_brings_the_running_mean_nearest():
    units = random_units(12)
    order = herding(units, 12).tolist()
    for k in range(12):
        gaps = {}
        for i in set(range(12)) - set(order[:k]):
            gaps[i] = float((units.mean(0) - units[[*order[:k], i]].mean(0)).norm())
        assert gaps[order[k]] == pytest.approx(min(gaps.values()), abs=1e-12)
    assert sorted(order) == list(range(12))


@pytest.mark.parametrize("seed", range(5))
def test_fewer_are_the_first_of_more(seed):
    units = random_units(15, seed=seed)
    orders = [herding(units, m).tolist() for m in range(1, 20)]
    for m, order in enumerate(orders, 1):
        assert order == orders[-1][:m]
    # The mean of the exemplars chosen is nearer to the class's than that of random ones.
    found = (units[orders[4]].mean(0) - units.mean(0)).norm()
    generator = torch.Generator().manual_seed(seed)
    others = [units[torch.randperm(15, generator=generator)[:5]].mean(0) for _ in range(50)]
    assert found < torch.stack([(o - units.mean(0)).norm() for o in others]).mean()


def test_groups_are_herded_each_by_itself_and_replicas_too():
    units, group = random_units(20), torch.arange(20) % 3 - 1
    places = herd(units, group, torch.tensor(4))
    for one in (0, 1):
        members = (group == one).nonzero().squeeze(1)
        order = members[herding(units[members], 4)]
        assert places[order].tolist() == [0, 1, 2, 3]
    assert (places[group < 0] == 20).all()
    assert int((places == 20).sum()) == 12
    more = torch.stack([units, random_units(20, seed=1)])
    most = torch.tensor([4, 2])
    together = vmap(herd, (0, None, 0))(more, group, most)
    alone = [herd(u, group, m) for u, m in zip(more, most, strict=True)]
    assert torch.equal(together, torch.stack(alone))
    assert herd(torch.full((3, 2), math.nan), torch.zeros(3).long(), torch.tensor(2)).shape == (3,)


def test_means_and_distances_by_hand():
    units, label = circle(0, 90, 180, 45), torch.tensor([0, 0, 1, 1])
    kept = torch.tensor([True, True, True, False])
    means = class_means(units, label, kept, 3)
    half = math.sqrt(0.5)
    torch.testing.assert_close(means, torch.tensor([[half, half], [-1.0, 0.0], [0.0, 0.0]]).double())
    found = distances(circle(45, 180), means)[:, :2]
    across = math.sqrt((1 + half) ** 2 + half**2)
    expected = torch.tensor([[0.0, across], [across, 0.0]]).double()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)
    # Features that are all 0 are equally far from all.
    some = nn.functional.normalize(torch.randn(9, 4))
    assert set(distances(torch.zeros(1, 4), some).flatten().tolist()) == {1.0}


# ---- the loss -----------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    # Class 0 was learned before, 1 is new, 2 has not been seen. g = (1/2, 3/4), targets (3/4, 1).
    now, before = torch.tensor([[0.0, math.log(3), 9.0]]), torch.tensor([[math.log(3), 5.0, 5.0]])
    old, new = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    found = surrogate(now, before, torch.tensor([1]), old, new)
    assert found.tolist() == pytest.approx([math.log(2) - math.log(0.75)])
    # For an exemplar of class 0, what is new is to be 0.
    found = surrogate(now, before, torch.tensor([0]), old, new)
    assert found.tolist() == pytest.approx([math.log(2) - math.log(0.25)])
    # A class that comes again is new: nothing is distilled.
    found = surrogate(before, -before, torch.tensor([0]), old, old)
    assert found.tolist() == pytest.approx([-math.log(0.75)])


def test_at_the_kept_model_nothing_pulls_on_old_outputs():
    outputs = torch.randn(6, 4, dtype=torch.float64)
    old = torch.tensor([True, True, False, False])
    slope = torch.func.grad(lambda z: surrogate(z, outputs, torch.arange(6) % 4, old, ~old).sum())(outputs)
    assert slope[:, :2].abs().max() < 1e-12
    assert slope[:, 2:].abs().min() > 0


@pytest.mark.slow
def test_the_loss_is_avalanches_but_for_the_number_of_classes():
    from perdure.strategies.interop.avalanche import load, quiet

    with quiet():
        pytest.importorskip("avalanche", reason="Avalanche, the oracle, is not installed")
        theirs = load("avalanche.training.losses").ICaRLLossPlugin()
    now, before = torch.randn(2, 6, 5)
    y, old = torch.arange(6) % 5, torch.arange(5) < 3
    theirs.old_classes, theirs.old_logits = [0, 1, 2], before
    torch.testing.assert_close(surrogate(now, before, y, old, ~old).mean(), 5 * theirs(now, y))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_exemplars_are_avalanches(seed):
    from perdure.strategies.interop.avalanche import load, quiet

    units, m = random_units(80, 6, seed).float(), 12
    with quiet():
        pytest.importorskip("avalanche", reason="Avalanche, the oracle, is not installed")
        make = load("avalanche.benchmarks.utils")._make_taskaware_tensor_classification_dataset
        plugin = load("avalanche.training.supervised.icarl")._ICaRLPlugin(m, fixed_memory=False)
        labels = torch.zeros(80).long()
        benchmark = SimpleNamespace(n_classes_per_exp=[1], classes_order=[0])
        plugin.observed_classes = [0]
        plugin.construct_exemplar_set(
            SimpleNamespace(
                clock=SimpleNamespace(train_exp_counter=0),
                experience=SimpleNamespace(benchmark=benchmark, dataset=make(3.0 * units, labels)),
                model=SimpleNamespace(feature_extractor=nn.Identity()),
                eval_mb_size=16,
                device="cpu",
            )
        )
    # They keep the samples in the order in which they came, and their places beside them.
    theirs = plugin.x_memory[0][plugin.order[0].argsort()] / 3.0
    torch.testing.assert_close(units[herding(units, m)], theirs)


# ---- the memory and the answers -----------------------------------------------------------------------


def learn(strategy, stream, model=tiny_model, seeds=(0, 1), epochs=2):
    """Yield the engine, the task, the moment and the replicas."""
    training = Training(epochs, 4, SGD(momentum=0.9), 0.05, device="cpu", dtype="float64")
    engine = Engine(stream, strategy, training, model, seeds)
    engine.mapper.mapped = False  # A few steps are done sooner than recorded.
    engine.program = replace(engine.program, mappable=False)
    replica = engine.start()
    yield engine, -1, "start", replica
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        yield engine, phase.tasks[-1], "trained", replica
        replica = engine.boundary(replica, phase, data, "end_task")
        yield engine, phase.tasks[-1], "ended", replica


def one(engine, replica, r=0):
    """Net, parameters and state of one replica."""
    held = replica.state["icarl"]
    state = {k: {n: v[r] for n, v in s.items()} if isinstance(s, dict) else s[r] for k, s in held.items()}
    net = engine.program.net({k: v[r] for k, v in replica.buffers.items()})
    return net, {k: v[r] for k, v in replica.params.items()}, state


def answer(strategy, net, params, state, x, task):
    with torch.no_grad():
        return strategy.forward(net, params, state, x.double(), torch.full((len(x),), task))


def test_the_memory_is_balanced_never_over_and_shrinks_to_the_first():
    stream, strategy, before = tiny_stream("class", (20, 12, 9)), ICaRL(11), None
    # floor(11 / 2), floor(11 / 4), floor(11 / 6) of each class seen.
    for _, task, moment, replica in learn(strategy, stream):
        if moment != "ended":
            continue
        memory, m = replica.state["icarl"]["memory"], {0: 5, 1: 2, 2: 1}[task]
        seen = 2 * task + 2
        assert replica.state["icarl"]["old"].tolist() == [[True] * seen + [False] * (6 - seen)] * 2
        now = {}
        for r in (0, 1):
            filled = memory["filled"][r]
            count = torch.bincount(memory["y"][r][filled], minlength=6).tolist()
            assert count == [m] * seen + [0] * (6 - seen)
            for x, y, key in zip(*(memory[k][r][filled] for k in ("x", "y", "key")), strict=True):
                now[r, int(y), int(key)] = x
                assert key < m
                if before is not None and y < 2 * task:
                    assert torch.equal(before[r, int(y), int(key)], x), "the first in the order stay"
        before = now


def test_a_class_with_few_samples_keeps_all_of_them():
    (*_, (_, _, _, replica)) = learn(ICaRL(40), tiny_stream("class", (5, 8, 3)))
    memory = replica.state["icarl"]["memory"]
    assert torch.bincount(memory["y"][0][memory["filled"][0]]).tolist() == [3, 2, 4, 4, 2, 1]


def test_exemplars_are_herded_in_the_features_of_the_tasks_end():
    stream, strategy = tiny_stream("class", (20, 12)), ICaRL(8)
    for engine, task, moment, replica in learn(strategy, stream):
        if moment != "ended":
            continue
        _, params, state = one(engine, replica)
        train = stream[task].train
        for c in stream[task].outputs:
            x = train.x[train.y == c].double()
            hidden = torch.relu(x @ params["1.weight"].T + params["1.bias"])
            units = hidden / hidden.norm(dim=1, keepdim=True).clamp_min(1e-12)
            chosen = x[herding(units, 4 if task == 0 else 2)]
            memory = state["memory"]
            own = memory["filled"] & (memory["y"] == c)
            torch.testing.assert_close(memory["x"][own][memory["key"][own].argsort()], chosen)


def test_the_answers_are_distances_to_the_exemplars_means():
    stream, strategy = tiny_stream("class", (20, 12, 9)), ICaRL(12)
    for engine, task, moment, replica in learn(strategy, stream):
        net, params, state = one(engine, replica)
        x = stream[0].test.x
        found = answer(strategy, net, params, state, x, 0)

        def hidden(x, params=params):
            units = torch.relu(x.double() @ params["1.weight"].T + params["1.bias"])
            return units / units.norm(dim=1, keepdim=True).clamp_min(1e-12)

        if moment != "ended":
            own = net.raw(params, x.double(), torch.zeros(len(x)).long())
            torch.testing.assert_close(found, own)
            continue
        memory = state["memory"]
        for c in range(6):
            own = memory["x"][memory["filled"] & (memory["y"] == c)]
            if c > 2 * task + 1:
                assert (found[:, c] == -1e9).all(), "what has not been seen is closed"
                continue
            mean = hidden(own).mean(0)
            by_hand = -(hidden(x) - mean / mean.norm().clamp_min(1e-12)).norm(dim=1)
            torch.testing.assert_close(found[:, c], by_hand, atol=1e-6, rtol=0)


def test_the_answers_do_not_depend_on_the_scale_of_the_features():
    stream, strategy = tiny_stream("class", (20, 12)), ICaRL(8)
    (*_, (engine, _, _, replica)) = learn(strategy, stream)
    net, params, state = one(engine, replica)
    train, classes = stream[1].train, torch.arange(4) > 1
    data = SimpleNamespace(
        rows=(rows := {"x": train.x.double(), "y": train.y, "task": torch.ones(12).long()}),
        outputs=classes,
        **rows,
    )
    found = []
    for scale in (1.0, 7.0):
        scaled = {**params, "1.weight": scale * params["1.weight"], "1.bias": scale * params["1.bias"]}
        _, after = strategy.end_task(net, scaled, state, data)
        found.append((after["memory"]["x"], answer(strategy, net, scaled, after, stream[0].test.x, 0)))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-7)


def test_in_the_task_setting_other_tasks_outputs_are_closed():
    stream, strategy = tiny_stream("task", (20, 12)), ICaRL(8)
    for engine, _, _, replica in learn(strategy, stream):
        found = answer(strategy, *one(engine, replica), stream[1].test.x, 1)
        assert (found[:, :2] == -1e9).all()
    assert (found[:, 2:] > -3).all()


def test_classes_that_come_again_are_chosen_anew_and_not_distilled():
    stream, strategy = tiny_stream("domain", (20, 12)), ICaRL(8)
    for engine, task, moment, replica in learn(strategy, stream):
        if moment == "trained":
            state = one(engine, replica)[2]
            assert state["new"].tolist() == [True, True]
            assert state["old"].tolist() == [task > 0] * 2
    memory = replica.state["icarl"]["memory"]
    assert torch.bincount(memory["y"][0]).tolist() == [4, 4]
    assert (memory["task"] == 1).any()
    assert memory["key"][0].sort().values.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("size", [None, 3])
def test_exemplars_weigh_as_much_as_in_the_union(size):
    stream, strategy = tiny_stream("class", (20, 12)), ICaRL(8, size)
    for engine, task, moment, replica in learn(strategy, stream):
        if moment != "trained":
            continue
        net, params, state = one(engine, replica)
        x, y = stream[task].train.x[:4].double(), stream[task].train.y[:4]
        zero, weight = torch.tensor(0), torch.tensor([1.0, 1.0, 1.0, 0.0]).double()
        coming = Batch(
            {"x": x, "y": y, "task": torch.full((4,), task), "weight": weight},
            zero + task,
            Rng(zero, zero).scoped("icarl"),
        )
        batch = strategy.batch(net, params, state, coming)
        assert len(batch) == 4 + (size or 4)
        # 8 exemplars beside 12 samples, of which 3 come in: 8 / 12 * 3 in all.
        assert batch.weight[4:].sum().item() == pytest.approx(8 / 12 * 3 if task else 0.0)
        assert (batch.y[4:] < 2).all()


def test_it_takes_the_place_of_the_loss_and_leaves_what_others_appended():
    stream, strategy = tiny_stream("class", (20, 12)), ICaRL(8)
    (*_, (engine, _, _, replica)) = learn(strategy, stream)
    net, params, state = one(engine, replica)
    zero, x, y = torch.tensor(0), stream[1].train.x[:4].double(), stream[1].train.y[:4]
    batch = Batch(
        {"x": x, "y": y, "task": torch.ones(4).long(), "weight": torch.ones(4).double()},
        zero,
        Rng(zero, zero),
    )
    found = strategy.losses(net, params, state, batch, torch.tensor([5.0, 7.0]).double())
    own = net.raw(params, x, batch.task)
    expected = surrogate(own, own, batch.y, state["old"], state["new"]).mean()
    torch.testing.assert_close(found, torch.stack([expected, torch.tensor(7.0).double()]))


def test_features_are_what_goes_into_the_head():
    class Twisted(nn.Module):
        """Registers its head first, and has a body that it does not use."""

        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(3, 6), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.body(x).square())

    module, x = Twisted(), torch.randn(4, 5)
    net = Net(module, {}, None, Classification())
    units, outputs = features(net, dict(module.named_parameters()), x, torch.zeros(4).long(), 6)
    torch.testing.assert_close(units, nn.functional.normalize(module.body(x).square(), dim=1))
    torch.testing.assert_close(outputs, module(x))
    assert not module.head._forward_pre_hooks

    class Bypassed(Twisted):
        def forward(self, x):
            return nn.functional.linear(self.body(x), self.head.weight)

    with pytest.raises(PerdureError, match="the model does not call its layer 'head'") as caught:
        compare(tiny_stream("class", (6, 6, 6)), ["icarl"], model=Bypassed, quiet=True)
    assert "\n" not in str(caught.value)


# ---- in runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["icarl(capacity=7)", "icarl(batch_size=3) + si"])
def test_it_keeps_the_contract_while_the_memory_overflows(spec, level):
    check_strategy(get(spec), level=level)


def test_it_forgets_far_less_than_naive_on_digits():
    results = compare("split-digits", ["naive", "icarl"], model="mlp(hidden=[64])", seeds=2, quiet=True)
    final = {name: scores[:, -1].mean() for name, scores in results.scores.items()}
    assert final["icarl"] > 0.65
    assert final["naive"] < 0.3


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"capacity": 0}, "capacity must be a whole number of at least 1; found 0"),
        ({"batch_size": 1.5}, "icarl: batch_size must be a whole number or None; found 1.5"),
    ],
)
def test_bad_parameters(values, line):
    with pytest.raises(PerdureError) as caught:
        ICaRL(**values)
    assert str(caught.value) == line


def test_what_it_cannot_learn_is_refused():
    stream = tiny_stream("class", (6, 6))
    with pytest.raises(PerdureError, match=r"at least 4, an exemplar for each class; found 3"):
        compare(stream, [ICaRL(3)], quiet=True)
    pooled = nn.Sequential(nn.Linear(5, 8), nn.Unflatten(1, (4, 2)), nn.AdaptiveMaxPool1d(1), nn.Flatten())
    with pytest.raises(PerdureError, match=r"icarl needs a head, .* 4 outputs; found none in Sequential"):
        compare(stream, ["icarl"], quiet=True, model=pooled)
    x = np.linspace(0, 1, 40)[:, None]
    with pytest.raises(PerdureError, match="labels that are classes; found Regression"):
        compare(from_arrays([(x, 2.0 * x[:, 0]), (x + 1, x[:, 0])]), ["icarl"], seeds=1, quiet=True)
