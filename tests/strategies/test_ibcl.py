"""IBCL: what is trained, what is stored, and what is answered without training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.engine.trained import Trained
from perdure.experiment import make_engine
from perdure.optim.adam import Adam
from perdure.scenarios import Part, Regression, Stream, Task, get, take
from perdure.strategies import IBCL, Knowledge
from perdure.strategies import get as get_strategy
from perdure.strategies.bayesian.credal import divergence, get_sigma
from perdure.testing import check_strategy, tiny_model, tiny_norm, tiny_stream
from perdure.training import Settings, Training


def settings(model=tiny_model, pretrained=False, seeds=(0,), **changes):
    base = {"epochs": 2, "batch_size": 4, "optimizer": Adam(), "lr": 0.02, "dtype": "float64"}
    return Settings(model, seeds, Training(**{**base, **changes}), pretrained)


def train(stream, strategy, chosen, tasks=None):
    engine = make_engine(stream, strategy, chosen)
    replica = engine.start()
    for phase in strategy.phases(stream)[:tasks]:
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
    return engine, replica


def knowledge(engine, replica, k=0):
    return Knowledge.of(Trained(engine.program, replica.view()), k)


@pytest.fixture(scope="module")
def three():
    stream = tiny_stream("domain", (9, 12, 7))
    return stream, *train(stream, IBCL(distance=0.0), settings(seeds=(0, 1, 2)))


@pytest.mark.parametrize(
    "strategy",
    [
        IBCL(priors=(0.2,), score="own", distance=None),
        IBCL(priors=[0.3, 0.1], distance=1.5, kl_weight=0.1, start=0.1),
    ],
)
def test_the_contract(strategy, level):
    check_strategy(strategy, level=level)


def test_an_infinite_distance_trains_as_well():
    stream = tiny_stream("task", (10, 8))
    _, replica = train(stream, IBCL(distance=math.inf), settings(model=tiny_norm))
    assert all(p.isfinite().all() for p in replica.params.values())


def test_a_replica_learns_the_same_alone_as_among_three(three):
    stream, engine, replica = three
    other_engine, alone = train(stream, IBCL(distance=0.0), settings(seeds=(2,)))
    one, other = knowledge(engine, replica, 2), knowledge(other_engine, alone)
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.sigma, other.sigma, rtol=1e-9, atol=1e-12)
    assert torch.equal(one.index, other.index)
    assert not torch.allclose(one.mean, knowledge(engine, replica, 1).mean)


# ---- what is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "count"), [(0.0, 9), (math.inf, 1)])
def test_distance_0_stores_all_and_infinite_distance_one(distance, count):
    _, replica = train(tiny_stream("domain", (9, 12, 7)), IBCL(distance=distance), settings())
    state = replica.state["ibcl"]
    assert state["stored"].sum().item() == count
    rows = torch.arange(9).view(1, 3, 3) if distance == 0 else torch.zeros(1, 3, 3)
    assert torch.equal(state["index"], rows.long())


def test_the_nearest_stored_one_stands_in_and_is_the_next_prior():
    stream = tiny_stream("domain", (9, 12))
    replica = placed_means(stream, IBCL(priors=(0.2, 0.3), distance=2.0), [(0.0, 10.0), (8.0, 5.0)])
    state = replica.state["ibcl"]
    # 8 is 2 from the stored 10, not more, so 10 stands in for it; 5 is far from both.
    assert state["index"].tolist() == [[[0, 1], [1, 3]]]
    assert state["stored"].tolist() == [[True, True, False, True]]
    assert state["prior"]["mean"][0, :, 0].tolist() == [10.0, 5.0]
    assert torch.equal(state["prior"]["mean"], replica.params["mean"])
    assert torch.equal(state["prior"]["rho"], replica.params["rho"])


def placed_means(stream, strategy, means, rho=-1.0):
    """End one task after the other with the chains' first coordinates at ``means``, all others at 0."""
    engine = make_engine(stream, strategy, settings())
    replica = engine.start()
    size = replica.params["mean"].shape[-1]
    for phase, firsts in zip(strategy.phases(stream), means, strict=True):
        mean = torch.zeros(1, len(firsts), size, dtype=torch.float64)
        mean[0, :, 0] = torch.tensor(firsts)
        replica = replace(replica, params={"mean": mean, "rho": torch.full_like(mean, rho)})
        replica = engine.boundary(replica, phase, engine.load(phase), "end_task")
    return replica


def test_an_empty_place_is_near_to_nothing():
    # What is not stored yet holds zeros: a posterior that equals them is new all the same.
    replica = placed_means(
        tiny_stream("domain", (9, 12)), IBCL(priors=(0.2, 0.3), distance=2.0), [(10.0, 0.0), (4.0, 20.0)], 0.0
    )
    state = replica.state["ibcl"]
    assert state["stored"].tolist() == [[True, True, True, True]]
    assert state["index"].tolist() == [[[0, 1], [2, 3]]]
    assert state["bank"]["mean"][0, :, 0].tolist() == [10.0, 0.0, 4.0, 20.0]


def test_whichever_is_nearest_stands_in():
    replica = placed_means(
        tiny_stream("domain", (9, 12, 7)), IBCL(priors=(0.2, 0.3), distance=2.0),
        [(0.0, 10.0), (20.0, 30.0), (29.0, 19.0)],
    )  # fmt: skip
    state = replica.state["ibcl"]
    assert state["index"].tolist() == [[[0, 1], [2, 3], [3, 2]]]
    assert state["stored"].tolist() == [[True, True, True, True, False, False]]
    assert state["prior"]["mean"][0, :, 0].tolist() == [30.0, 20.0]


def test_a_spec_can_say_that_one_posterior_is_enough():
    once = IBCL(distance=math.inf)
    assert once == IBCL(distance=None) == get_strategy("ibcl(distance=None)") == get_strategy(str(once))


@pytest.mark.parametrize("spec", ["gdumb + ibcl", "ibcl + gdumb"])
def test_a_phase_without_training_is_refused(spec):
    with pytest.raises(PerdureError, match="phases that train; found 'collect' of 0 epochs") as caught:
        compare(tiny_stream(), [spec], model=tiny_model, seeds=2, quiet=True)
    assert "\n" not in str(caught.value)


# ---- what is trained ----------------------------------------------------------------------------------


def placed(strategy, stream, samples):
    engine = make_engine(stream, strategy, settings())
    replica = engine.start()
    params, state = ({k: v[0] for k, v in tree.items()} for tree in (replica.params, {}))
    state = strategy.init(engine.program.net({}), params, stream)
    net = engine.program.net({k: v[0] for k, v in replica.buffers.items()}, training=True)
    state = {**state, "samples": torch.tensor(float(samples), dtype=torch.float64)}
    x, y = stream[0].train.x[:4].double(), stream[0].train.y[:4]
    zero = torch.tensor(0)
    task, weight = torch.zeros(4, dtype=torch.int64), torch.ones(4).double()
    batch = Batch({"x": x, "y": y, "task": task, "weight": weight}, zero, Rng(zero, zero))
    return net, params, state, batch


def test_the_loss_is_the_mean_loss_of_sampled_weights_plus_the_kl_over_n():
    stream, strategy = tiny_stream("domain", (8,)), IBCL(priors=(0.2, 0.5), kl_weight=0.5)
    net, params, state, batch = placed(strategy, stream, 40)
    base = torch.tensor([7.0, 3.0]).double()
    loss = strategy.losses(net, params, state, batch, base)
    sigma = get_sigma(params["rho"])
    weights = params["mean"] + sigma * batch.rng.normal("weights", *sigma.shape, dtype=torch.float64)
    expected = 0.0
    for j, s in enumerate((0.2, 0.5)):
        w0, b0, w1, b1 = torch.split(weights[j], [30, 6, 12, 2])
        hidden = (batch.x @ w0.view(6, 5).T + b0).relu()
        expected += nn.functional.cross_entropy(hidden @ w1.view(2, 6).T + b1, batch.y)
        prior = torch.full_like(sigma[j], s)
        expected += 0.5 * divergence(params["mean"][j], sigma[j], torch.zeros_like(prior), prior) / 40
    torch.testing.assert_close(loss[0], expected, rtol=1e-6, atol=0)
    assert loss[1] == 3.0  # what others appended stays


def linear(n, weights, seed):
    """A regression with orthogonal inputs, whose posterior is a diagonal Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.linalg.qr(torch.randn(n, 2, generator=generator)).Q * torch.tensor([3.0, 1.5])
    y = x @ torch.tensor(weights) + 0.3 * torch.randn(n, generator=generator)
    part = Part(x, y)
    return Task(f"seed {seed}", part, part, part, (0,), Regression())


@pytest.mark.slow
def test_a_conjugate_problem_recovers_the_exact_posterior_task_after_task():
    stream = Stream("linear", (linear(16, [1.0, -0.5], 0), linear(16, [0.4, 0.8], 1)), "domain", 1)
    chosen = settings(
        lambda: nn.Linear(2, 1, bias=False), batch_size=16, epochs=2500, lr=0.01, schedule="cosine"
    )
    engine, replica = train(stream, IBCL(priors=(0.5, 1.0), distance=0.0), chosen)
    found = knowledge(engine, replica)
    for j, s in enumerate((0.5, 1.0)):
        precision, shift = torch.full((2,), s**-2), torch.zeros(2)
        for t, task in enumerate(stream):
            # Squared error is the negative log likelihood of noise with variance 1/2.
            precision = precision + 2 * task.train.x.square().sum(0)
            shift = shift + 2 * task.train.x.T @ task.train.y
            row = found.index[t, j]
            torch.testing.assert_close(found.mean[row].float(), shift / precision, rtol=0, atol=0.04)
            torch.testing.assert_close(found.sigma[row].float(), precision**-0.5, rtol=0.08, atol=0)


# ---- what is answered ---------------------------------------------------------------------------------


def test_preferences_cost_no_step_and_leave_what_is_stored_untouched(three):
    _stream, engine, replica = three
    steps, before = engine.step_count, {k: v.clone() for k, v in replica.state["ibcl"]["bank"].items()}
    known = knowledge(engine, replica, 1)
    kept = known.mean.clone(), known.sigma.clone()
    for i in range(20):
        w = torch.rand(3, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        model = known.model_for(w / w.sum())
        for p in model.parameters():
            p.data.mul_(3.0)  # the model is its owner's
        known.models_for(w / w.sum(), 2, reading=("mixture", "independent")[i % 2])
    assert engine.step_count == engine.costs.steps == steps
    assert torch.equal(known.mean, kept[0])
    assert torch.equal(known.sigma, kept[1])
    assert all(torch.equal(v, before[k]) for k, v in replica.state["ibcl"]["bank"].items())


def test_all_preference_on_one_task_returns_its_posterior():
    stream = tiny_stream("domain", (9, 12, 7))
    engine, replica = train(stream, IBCL(priors=(0.2,), distance=0.0), settings())
    known = knowledge(engine, replica)
    for t in range(3):
        one = known.posterior([float(t == u) for u in range(3)])
        torch.testing.assert_close(one.mean[0], known.mean[t], rtol=1e-12, atol=0)
        torch.testing.assert_close(one.sigma[0], known.sigma[t], rtol=1e-12, atol=0)
    assert not torch.allclose(known.mean[0], known.mean[1])


@pytest.mark.parametrize("setting", ["domain", "task"])
def test_the_model_for_a_preference_is_the_one_that_is_scored(setting):
    stream = tiny_stream(setting, (10, 8))
    engine, replica = train(stream, IBCL(), settings(model=tiny_norm))
    known = knowledge(engine, replica)
    view = pytree.tree_map(lambda v: v[0], replica.view())
    state, net = view.state["ibcl"], engine.program.net(view.buffers)
    x = stream[1].test.x.double()
    for score, preference in (("uniform", [0.5, 0.5]), ("own", [0.0, 1.0])):
        output = IBCL(score=score).forward(net, view.params, state, x, torch.ones(6, dtype=torch.int64))
        model = known.model_for(preference)
        assert not model.training
        assert len(list(model.parameters())) == len(list(tiny_norm((5,), 2).parameters()))
        raw = model(x)
        open_ = stream.masks()[1]
        torch.testing.assert_close(raw[:, open_], output[:, open_])


def test_sampled_models_lie_in_the_region_and_differ_by_seed(three):
    _, engine, replica = three
    known = knowledge(engine, replica)
    one, again, other = (known.models_for([0.5, 0.5, 0.0], 4, seed=s) for s in (0, 0, 1))
    assert one.shape == (4, known.mean.shape[1])
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    posterior = known.posterior([0.5, 0.5, 0.0])
    scaled = (one - posterior.mean) / posterior.sigma
    assert scaled.std(dim=1).min().item() > 0.5  # not one number for all weights
    assert known.build(one[0])(torch.ones(1, 5).double()).shape == (1, 2)


def test_a_preference_for_a_task_not_learned_is_refused():
    stream = tiny_stream("domain", (9, 12, 7))
    engine, replica = train(stream, IBCL(), settings(), tasks=2)
    known = knowledge(engine, replica)
    assert known.posterior([0.5, 0.5, 0.0]).mean.isfinite().all()
    with pytest.raises(PerdureError, match="task 2 weight 0 or learn it"):
        known.model_for([0.5, 0.0, 0.5])


def test_the_weights_of_one_model_are_trained_and_the_users_module_is_left_alone():
    stream, model = tiny_stream("domain", (9, 12)), tiny_model((5,), 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    engine, replica = train(stream, IBCL(), settings(model=model, pretrained=True))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert replica.params["mean"].shape == (1, 3, 50)
    assert engine.sizes(replica)[0] == 2 * 3 * 50


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ({"priors": ()}, "priors"),
        ({"priors": (0.2, 0.0)}, "priors"),
        ({"start": 0.0}, "start"),
        ({"distance": -1.0}, "distance must be None or at least 0; found -1.0"),
        ({"distance": math.nan}, "distance must be a finite number or None; found nan"),
        ({"kl_weight": math.nan}, "kl_weight must be a finite number; found nan"),
        ({"score": "mean"}, "score must be one of uniform, own"),
    ],
)
def test_bad_parameters(bad, line):
    with pytest.raises(PerdureError, match=line):
        replace(IBCL(), **bad)


def test_frozen_layers_stay_and_a_model_with_nothing_to_train_is_refused():
    def half(shape, outputs):
        model = tiny_model(shape, outputs)
        model[1].requires_grad_(False)
        return model

    engine, replica = train(tiny_stream("domain", (9, 12)), IBCL(), settings(model=half))
    assert replica.params["mean"].shape == (1, 3, 14)
    built = knowledge(engine, replica).model_for([1.0, 0.0])
    assert torch.equal(built[1].weight, replica.buffers["inner.1.weight"][0])
    with pytest.raises(PerdureError, match="found none"):
        compare(tiny_stream(), [IBCL()], model=lambda: nn.Linear(5, 2).requires_grad_(False), quiet=True)


def test_it_forgets_less_than_naive_on_binary_digits():
    stream = take(get("split-digits(setting='domain')"), 3)
    chosen = {"model": "mlp(hidden=[16])", "seeds": 2, "epochs": 15, "optimizer": "adam", "lr": 0.01}
    strategies = ["naive", IBCL(kl_weight=0.1), IBCL(kl_weight=0.1, score="own", priors=(0.25,))]
    results = compare(stream, strategies, quiet=True, **chosen)
    print({k: v[:, -1].mean(0).round(3) for k, v in results.scores.items()})
    naive, uniform, own = (v[:, -1].mean() for v in results.scores.values())
    assert np.isfinite([naive, uniform, own]).all()
    assert own > 0.8
    assert own > naive
    assert uniform > 0.55
