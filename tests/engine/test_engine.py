"""The engine: a plain loop's numbers, replicas that do not know of each other, refusals that still run."""

import warnings
from collections import deque

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from perdure.core.errors import PerdureError
from perdure.engine.engine import Engine
from perdure.experiment import compare, make_engine, run
from perdure.scenarios import Source, from_arrays, get, split
from perdure.strategies import Naive
from perdure.strategies import get as strategy
from perdure.training import Training, make_settings

DEFAULTS = {
    "model": "mlp(hidden=[16])",
    "seeds": 2,
    "epochs": 2,
    "batch_size": 16,
    "device": "cpu",
    "dtype": "float64",
}


def settings(stream, **changes):
    return make_settings(stream, **{**DEFAULTS, **changes})


def finish(engine, replica, phase, data):
    """Run a phase to its end."""
    return (deque(engine.train(replica, phase, data), maxlen=1) or [replica])[-1]


def small(setting="class", samples=70, tasks=2, width=6):
    generator = torch.Generator().manual_seed(1)

    def part(t, n):
        x = torch.randn(n, width, generator=generator)
        y = (x[:, t] > 0).long()
        return x, y if setting == "domain" else y + 2 * t

    return from_arrays([(part(t, samples), part(t, 30)) for t in range(tasks)], setting=setting)


def linear(shape, outputs):
    return nn.Linear(shape[0], outputs)


def normed(shape, outputs):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))


def test_naive_follows_a_plain_loop_to_the_last_bit_of_the_order():
    stream = small("domain")
    chosen = settings(stream, seeds=[5], model=linear)
    engine = make_engine(stream, Naive(), chosen)
    replica = engine.start()
    torch.manual_seed(5)
    model = linear((6,), 2).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert torch.equal(replica.params["weight"][0], model.weight)
    step = 0
    for phase in Naive().phases(stream):
        data = engine.load(phase)
        start = engine.step_count
        replica = finish(engine, replica, phase, data)
        for epoch in range(2):
            order = engine.sampler.order(len(data), start + epoch, "order")[0]
            for i in range(0, len(data), 16):
                rows = order[i : i + 16]
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(data.rows["x"][rows]), data.rows["y"][rows]).backward()
                optimizer.step()
                step += 1
        assert step == engine.step_count
        assert torch.allclose(replica.params["weight"][0], model.weight, atol=1e-12)


@pytest.mark.parametrize("model", ["mlp(hidden=[12], dropout=0.3)", normed, "mlp(hidden=[8])"])
@pytest.mark.parametrize("name", ["naive", "ewc", "joint", "cumulative"])
def test_replica_k_alone_equals_replica_k_among_eight(name, model):
    stream = small("class")
    many = run(stream, strategy(name), settings(stream, seeds=8, model=model, optimizer="adam", lr=0.01))
    alone = run(stream, strategy(name), settings(stream, seeds=[5], model=model, optimizer="adam", lr=0.01))
    assert torch.allclose(many.untrained[5], alone.untrained[0], rtol=0, atol=1e-9)
    for among, own in zip(many.scores, alone.scores, strict=True):
        assert torch.allclose(among[5], own[0], rtol=0, atol=1e-9)


def test_parameters_of_replica_k_alone_equal_those_among_eight():
    stream = small("class")
    ends = []
    for seeds in (8, [5]):
        engine = make_engine(stream, strategy("ewc"), settings(stream, seeds=seeds, model=normed))
        replica = engine.start()
        for phase in Naive().phases(stream):
            data = engine.load(phase)
            replica = finish(engine, replica, phase, data)
            replica = engine.boundary(replica, phase, data, "end_task")
        ends.append(replica)
    for place in ("params", "buffers"):
        for k, value in getattr(ends[0], place).items():
            assert torch.allclose(
                value[5].double(), getattr(ends[1], place)[k][0].double(), rtol=0, atol=1e-9
            )


def test_running_statistics_belong_to_the_replica_and_follow_torch():
    stream = small("domain", samples=48)
    chosen = settings(stream, model=normed, seeds=3, epochs=1)
    engine = make_engine(stream, Naive(), chosen)
    replica = engine.start()
    phase = Naive().phases(stream)[0]
    data = engine.load(phase)
    replica = finish(engine, replica, phase, data)
    for r in range(3):
        torch.manual_seed(r)
        model = normed((6,), 2).double().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        order = engine.sampler.order(len(data), 0, "order")[r]
        for i in range(0, len(data), 16):
            rows = order[i : i + 16]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data.rows["x"][rows]), data.rows["y"][rows]).backward()
            optimizer.step()
        assert torch.allclose(replica.buffers["1.running_mean"][r], model[1].running_mean, atol=1e-12)
        assert torch.allclose(replica.buffers["1.running_var"][r], model[1].running_var, atol=1e-12)
        assert replica.buffers["1.num_batches_tracked"][r] == model[1].num_batches_tracked


RECORDED = [
    "naive", "ewc(fisher='sampled')", "online-ewc", "si", "mas", "lwf", "replay(20)", "derpp(20)",
    "agem(samples_per_task=5, sample=8)", "replay(20, policy='class') + ewc",
]  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_equals_one_that_is_not_recorded(name):
    stream = small("class", samples=60)
    ends = []
    for mapped in (True, False):
        engine = make_engine(stream, strategy(name), settings(stream, optimizer="sgd(momentum=0.9)", lr=0.05))
        engine.mapper.mapped = mapped
        replica = engine.start()
        for phase in strategy(name).phases(stream):
            data = engine.load(phase)
            replica = engine.boundary(replica, phase, data, "begin_task")
            replica = finish(engine, replica, phase, data)
            replica = engine.boundary(replica, phase, data, "end_task")
        assert engine.mapper.mapped == mapped
        ends.append(replica)
    for a, b in zip(*(pytree.tree_leaves(end) for end in ends), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-9, atol=1e-9)


def test_convolutions_run_replica_by_replica_on_the_cpu_and_are_recorded_all_the_same():
    stream = get("split-digits | take(2) | limit(40)")
    chosen = settings(stream, model="cnn(channels=[4], hidden=8)", seeds=3, epochs=1)
    engine = make_engine(stream, Naive(), chosen)
    assert engine.mapper.unroll
    outcome = run(stream, Naive(), chosen)
    assert outcome.extras["mapped"]
    engine.mapper.unroll = False
    replica = engine.start()
    for phase, scores in zip(Naive().phases(stream), outcome.scores, strict=True):
        replica = finish(engine, replica, phase, engine.load(phase))
        assert torch.allclose(engine.evaluate(replica), scores, atol=1e-9)


class Branching(nn.Linear):
    """Decides by a value: vmap refuses it."""

    def forward(self, x):
        out = super().forward(x)
        return out * 2 if bool(out.sum() > 0) else out


class Trick(nn.Linear):
    """Writes on a tensor through a mask: vmap refuses it."""

    def forward(self, x):
        out = super().forward(x)
        out = out.clone()
        out[out < 0] *= 0.5
        return out


class Calm(nn.Linear):
    """The same as Trick, without the trick."""

    def forward(self, x):
        out = super().forward(x)
        return torch.where(out < 0, out * 0.5, out)


def test_a_model_that_vmap_refuses_runs_one_at_a_time_with_one_warning_and_the_same_results():
    stream = small("class")
    outcomes = {}
    for kind in (Trick, Calm):
        chosen = settings(stream, model=lambda shape, outputs, kind=kind: kind(shape[0], outputs))
        outcomes[kind] = run(stream, strategy("ewc(strength=1)"), chosen)
    assert outcomes[Calm].extras["mapped"]
    assert outcomes[Calm].warnings == []
    if outcomes[Trick].extras["mapped"]:
        pytest.fail("vmap takes this trick now: find another")
    assert len(outcomes[Trick].warnings) == 1
    assert "one at a time" in outcomes[Trick].warnings[0]
    for a, b in zip(outcomes[Trick].scores, outcomes[Calm].scores, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-9)


def test_a_branching_model_runs():
    stream = small("class")
    chosen = settings(stream, model=lambda shape, outputs: Branching(shape[0], outputs))
    outcome = run(stream, strategy("naive"), chosen)
    assert not outcome.extras["mapped"]
    assert len(outcome.warnings) == 1
    assert all(bool(torch.isfinite(s).all()) for s in outcome.scores)


def test_a_failure_of_the_model_is_not_mistaken_for_a_refusal():
    class Broken(nn.Linear):
        def forward(self, x):
            if self.training:
                raise ZeroDivisionError("the user's own bug")
            return super().forward(x)

    stream = small("class")
    chosen = settings(stream, model=lambda shape, outputs: Broken(shape[0], outputs))
    with pytest.raises(ZeroDivisionError, match="own bug"):
        run(stream, strategy("naive"), chosen)


def test_task_setting_lets_only_the_tasks_own_outputs_compete():
    stream = small("task")
    outcome = run(stream, strategy("naive"), settings(stream, epochs=8))
    assert float(outcome.scores[-1].mean()) > 0.7
    same = run(small("class"), strategy("naive"), settings(small("class"), epochs=8))
    assert float(same.scores[-1][:, 0].mean()) < 0.2


def test_evaluation_is_exact_whatever_the_chunks(monkeypatch):
    stream = small("class", samples=40)
    whole = make_engine(stream, Naive(), settings(stream))
    expected = whole.evaluate(whole.start())
    monkeypatch.setattr("perdure.engine.engine.EVAL_SAMPLES", 34)
    monkeypatch.setattr("perdure.engine.engine.LEAST_SCORED", 4)
    cut = make_engine(stream, Naive(), settings(stream))
    assert len(cut.test.chunks) > 1
    assert torch.allclose(cut.evaluate(cut.start()), expected, atol=1e-12)


def test_token_ids_are_scored_in_rows_no_longer_than_they_need(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 9, (40, 10), generator=generator)
    x = x * (torch.arange(10) < torch.randint(1, 10, (40, 1), generator=generator))
    source = Source.build("ids", x, torch.arange(40) % 4, x, torch.arange(40) % 4, tokens=True)

    class Sum(nn.Module):
        """Depends on every token and on where it stands, not on padding."""

        def __init__(self):
            super().__init__()
            self.table, self.place = nn.Embedding(9, 4), nn.Embedding(10, 4)

        def forward(self, x):
            each = self.table(x) * self.place(torch.arange(x.shape[1]))
            return (each * (x != 0).unsqueeze(-1)).sum(1)

    stream = split(source, classes_per_task=2, setting="class")
    whole = make_engine(stream, Naive(), settings(stream, model=Sum))
    replica = whole.start()
    monkeypatch.setattr("perdure.engine.scored.trimmed", lambda x: x)
    expected = whole.evaluate(replica)
    monkeypatch.undo()
    monkeypatch.setattr("perdure.engine.engine.EVAL_SAMPLES", 30)
    monkeypatch.setattr("perdure.engine.engine.LEAST_SCORED", 4)
    cut = make_engine(stream, Naive(), settings(stream, model=Sum))
    assert [rows["x"].shape[1] for rows, _ in cut.test.chunks] == [4, 8, 10]
    assert torch.allclose(cut.evaluate(replica), expected, atol=1e-12)


def test_the_grid_picks_the_rate_that_is_best_on_validation_data():
    results = compare(
        small("domain", samples=200), ["naive"], seeds=3, epochs=3, tune={"lr": [1e-6, 0.3]}, quiet=True
    )
    assert results.extras["naive"]["chosen"] == {"lr": 0.3}
    alone = compare(small("domain", samples=200), ["naive"], seeds=3, epochs=3, lr=0.3, quiet=True)
    assert abs(results.scores["naive"] - alone.scores["naive"]).max() < 1e-6


def test_a_rate_and_decay_per_replica_equal_separate_runs():
    stream = small("domain")
    both = run(
        stream, Naive(), settings(stream, seeds=[1], tune={"lr": [0.1, 0.01], "weight_decay": [0.0, 0.1]})
    )
    grid = [(lr, wd) for lr in (0.1, 0.01) for wd in (0.0, 0.1)]
    for i, (lr, wd) in enumerate(grid):
        alone = run(stream, Naive(), settings(stream, seeds=[1], lr=lr, weight_decay=wd))
        assert torch.allclose(both.scores[-1][i], alone.scores[-1][0], atol=1e-9)


def test_a_run_that_diverges_says_so():
    outcome = run(small(), Naive(), settings(small(), lr=1e200, epochs=1))
    assert outcome.extras["diverged"] == list(settings(small()).seeds)


def test_curves_hold_an_evaluation_every_n_steps():
    results = compare(small("class"), ["naive"], seeds=2, epochs=1, batch_size=10, eval_every=3, quiet=True)
    curve = results.curves["naive"]
    total = results.costs["naive"]["steps"]
    ends = {total / 2, total}
    assert curve.steps.tolist() == sorted({*range(3, int(total) + 1, 3), *ends})
    assert curve.scores.shape == (2, len(curve.steps), 2)
    assert set(curve.stage.tolist()) == {0, 1}


def test_samples_and_steps_are_counted_per_replica():
    stream = small("class", samples=70)
    outcome = run(stream, Naive(), settings(stream, epochs=2))
    n = len(stream[0].train)
    assert outcome.costs["steps"] == 2 * 2 * -(-n // 16)
    assert outcome.costs["samples_seen"] == 2 * 2 * n


def test_online_streams_refuse_more_than_one_pass():
    stream = get("split-digits(online=True)")
    with pytest.raises(PerdureError, match="online"):
        compare(stream, ["naive"], seeds=1, epochs=2, quiet=True)
    results = compare(stream, ["naive"], seeds=1, quiet=True)
    assert results.config["epochs"] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["naive", "ewc", "joint"])
def test_the_gpu_gives_the_cpus_scores(name):
    stream = small("class")
    on_cpu = run(stream, strategy(name), settings(stream))
    on_gpu = run(stream, strategy(name), settings(stream, device="cuda"))
    for a, b in zip(on_cpu.scores, on_gpu.scores, strict=True):
        assert torch.allclose(a, b.cpu(), atol=1e-6)


@pytest.mark.gpu
def test_bfloat16_autocast_learns_on_the_gpu():
    stream = small("class")
    outcome = run(stream, Naive(), settings(stream, device="cuda", dtype="float32", precision="bfloat16"))
    assert float(outcome.scores[0][:, 0].mean()) > 0.5


def test_warnings_of_a_run_stay_inside_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test_a_branching_model_runs()


# ---- clipping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [0.05, 0.3, 100.0])
def test_clipping_is_that_of_torch_for_each_replica(longest):
    stream = small("domain", samples=32, tasks=1)
    seeds, training = [5, 6], {"batch_size": 16, "lr": 0.1, "dtype": "float64", "device": "cpu"}
    engine = Engine(stream, Naive(), Training(2, clip=longest, **training), normed, seeds)
    (phase,) = Naive().phases(stream)
    replica, data = engine.start(), engine.load(phase)
    start = {k: v.clone() for k, v in {**replica.buffers, **replica.params}.items()}
    end = finish(engine, replica, phase, data)
    for r in range(len(seeds)):
        model = normed((6,), 2).double()
        model.load_state_dict({k: v[r] for k, v in start.items()})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(2):
            order = engine.sampler.order(len(data), epoch, "order")[r]
            for rows in order.split(16):
                optimizer.zero_grad()
                x, y = stream[0].train.x[rows].double(), stream[0].train.y[rows]
                nn.functional.cross_entropy(model(x), y).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
                optimizer.step()
        for k, v in model.named_parameters():
            torch.testing.assert_close(end.params[k][r], v, rtol=0, atol=1e-12)


def test_what_is_clipped_is_what_strategies_made_of_the_gradient():
    stream = small("domain", samples=16, tasks=1)
    training = Training(1, 16, lr=1.0, clip=0.5, dtype="float64", device="cpu")
    engine = Engine(stream, Steep(), training, linear, [0, 1])
    (phase,) = Naive().phases(stream)
    replica = engine.start()
    before = {k: v.clone() for k, v in replica.params.items()}
    replica = finish(engine, replica, phase, engine.load(phase))
    moves = torch.cat([(v - before[k]).flatten(1) for k, v in replica.params.items()], 1)
    assert torch.allclose(moves.norm(dim=1), torch.tensor(0.5, dtype=torch.float64))


class Steep(Naive):
    """Makes the gradient a thousand times as long."""

    def gradient(self, net, params, state, grads, batch):
        return {k: 1000 * g for k, g in grads.items()}
