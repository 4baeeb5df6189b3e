import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.utils import _pytree as pytree

from perdure import PerdureError, compare, measure_sensitivity
from perdure.cli import app as cli
from perdure.engine.checkpoint import Checkpoint
from perdure.engine.engine import Engine
from perdure.engine.step import Program
from perdure.experiment import get_phases, run
from perdure.optim.adam import Adam
from perdure.optim.schedules import SCHEDULES
from perdure.optim.sgd import SGD
from perdure.strategies import EWC, FPF, GEM, KFPF, SI, DERpp, LwF, Naive, Strategy
from perdure.strategies import get as strategy
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.parts.sensitivity import all_weights, by_module, sensitivity
from perdure.strategies.replay import fpf
from perdure.strategies.replay.fpf import FINE_TUNE, interleave
from perdure.testing import check_strategy, tiny_norm, tiny_stream
from perdure.training import Training, make_settings


def build(plugin, stream=None, model=tiny_norm, seeds=(0, 1), optimizer=None, **changes):
    stream = stream or tiny_stream("class", (10, 12, 7))
    optimizer = optimizer or SGD(momentum=0.9)
    settings = {"batch_size": 4, "epochs": 2, "dtype": "float64", "device": "cpu", **changes}
    training = Training(optimizer=optimizer, lr=0.05, weight_decay=0.01, **settings)
    return Engine(stream, plugin, training, model, seeds)


def copied(tree):
    return pytree.tree_map(lambda v: v.clone(), tree)


def same(one, other):
    leaves = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in leaves)


def trained(engine, watch=lambda phase, before, begun, after: None):
    """Run all phases; ``watch`` sees the replicas before each, after ``begin_task``, and after it."""
    replica = engine.start()
    for phase in lay_out(engine.strategy, engine.stream):
        data, before = engine.load(phase), copied(replica)
        replica = engine.boundary(replica, phase, data, "begin_task")
        begun = copied(replica)
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
        watch(phase, before, begun, copied(replica))
    return copied(replica)


def tuned(engine, replica):
    """What a replica fine-tunes, a mask like each parameter: of its own, or by name."""
    plugin, params = engine.strategy, replica.params
    if plugin.masked:
        return replica.state[plugin.name]["chosen"]
    # Not by asking what it trains: that is what is tested.
    return all_weights(params, torch.tensor(plugin.named(engine.program.net({}), params)))


# ---- what fine-tuning leaves alone --------------------------------------------------------------------

CHOICES = [
    {"modules": "head"},
    {"modules": "norm+head"},
    {"modules": ["1"]},
    {"modules": "first+norm", "kd": 0.5},
    {"modules": "auto", "top": 1},
    {"modules": "auto", "control": True, "top": 2},
    {"modules": "head", "control": True},
]


@pytest.mark.parametrize(
    ("choice", "optimizer"),
    [*((choice, SGD(momentum=0.9)) for choice in CHOICES), (CHOICES[1], Adam())],
    ids=str,
)
def test_what_is_outside_the_modules_stays_to_the_bit_and_the_optimizers_memory_too(choice, optimizer):
    seen = []

    def watch(phase, before, begun, after):
        if phase.name != FINE_TUNE:
            return
        chosen = tuned(engine, after)
        for k, mask in chosen.items():
            assert torch.equal(after.params[k][~mask], before.params[k][~mask])
        moved = [after.params[k][m] != before.params[k][m] for k, m in chosen.items() if m.any()]
        assert torch.cat(moved).double().mean() > 0.5
        norm = (chosen["2.weight"] & chosen["2.bias"]).all(1)
        for k, v in after.buffers.items():
            unchanged = (v == before.buffers[k]).reshape(2, -1).all(1)
            assert torch.equal(unchanged, ~norm), k
        # What is learned from the memory does not enter it again.
        assert same(after.state["kfpf"]["memory"], before.state["kfpf"]["memory"])
        # No leak in either direction: fine-tuning starts afresh, learning goes on with what it had.
        assert all(not v.any() for v in pytree.tree_leaves(begun.optim))
        assert same(after.optim, before.optim)
        assert any(v.any() for v in pytree.tree_leaves(before.optim))
        seen.append(phase)

    engine = build(KFPF(10, steps=3, k=4, **choice), optimizer=optimizer)
    trained(engine, watch)
    assert len(seen) == 4


def test_names_are_what_is_trained_and_masks_train_all():
    net, params = build(Naive()).program.net({}), build(Naive()).start().params
    names = KFPF(modules="head").trainable(net, params, FINE_TUNE)
    assert list(names) == ["5.weight", "5.bias"]
    assert list(KFPF(modules="all").trainable(net, params, FINE_TUNE)) == list(params)
    for own in (KFPF(modules="auto"), KFPF(modules="head", control=True)):
        assert list(own.trainable(net, params, FINE_TUNE)) == list(params)
    assert list(KFPF(modules="head").trainable(net, params, "learn")) == list(params)
    # Named modules need no masks, and only `auto` follows how far modules move.
    kept = [set(build(FPF(**c)).start().state["fpf"]) for c in ({}, {"control": True}, {"modules": "auto"})]
    both = {"memory", "buffers"}
    assert kept == [both, both | {"chosen"}, both | {"chosen", "moves"}]


def test_masks_and_names_train_the_same():
    # All of the modules chosen by mask (the control of all modules is all of them) is all by name.
    for changes in ({}, {"optimizer": Adam()}):
        ways = [KFPF(10, steps=3, k=4, modules="all", control=c, kd=0.5) for c in (False, True)]
        one, two = (trained(build(plugin, **changes)) for plugin in ways)
        for what in ("params", "buffers"):
            torch.testing.assert_close(getattr(one, what), getattr(two, what), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "other", [DERpp(6), EWC(), SI(), LwF(), GEM(3)], ids=lambda plugin: type(plugin).__name__
)
def test_other_strategies_do_not_notice_it(other):
    tuned = []

    def watch(phase, before, begun, after):
        if phase.name == FINE_TUNE:
            tuned.append(same(after.state[other.name], before.state[other.name]))
        assert not after.params["1.weight"].isnan().any()

    trained(build(other + KFPF(steps=2, k=4, modules="head")), watch)
    assert tuned == [True] * 4


# ---- when -----------------------------------------------------------------------------------------------


def test_the_memory_is_read_at_the_schedule_only(monkeypatch):
    engine = build(KFPF(10, steps=3, k=4), seeds=(0,), epochs=3)
    engine.mapper.mapped = False
    reads, draw = [], fpf.draw

    def counted(*args):
        reads.append((engine.step_count - engine.costs.steps_apart, args[-1]))
        return draw(*args)

    monkeypatch.setattr(fpf, "draw", counted)
    trained(engine)
    # 10, 12 and 7 samples in batches of 4, three times: 9 + 9 + 6 steps. Quarters of the 29 samples are 0.725
    # of the first task, 0.375 and 0.979 of the second: after steps 6.5, 9 + 3.4, 9 + 8.8 and 24, rounded.
    assert [at for at, _ in reads] == [7] * 3 + [12] * 3 + [18] * 3 + [24] * 3
    assert engine.costs.steps == 24 + 4 * 3
    assert engine.costs.steps_apart == 4 * 3


PRODUCTS = {"head": 66 + 36, "norm": 66 + 36, "norm+head": 66 + 36 + 36, "first": 66 + 36 + 30, "auto": 168}


@pytest.mark.parametrize("modules", PRODUCTS)
def test_the_cost_of_a_step_by_hand(modules):
    # 5 inputs, 6 units, norm, 6 outputs: 30 + 36 products forward, as many for the weights' gradients, and 36
    # for the gradient of what goes into the head; that of the inputs is not taken. With batch norm, batches
    # are as long as those of the task at hand, of 7 samples: 4 and 3.
    spent = []
    for k in (0, 1):
        engine = build(KFPF(k=k, steps=2, modules=modules), seeds=(0, 1), epochs=1)
        trained(engine)
        spent.append(engine.costs.flops)
    assert spent[1] - spent[0] == 2 * 7 * PRODUCTS[modules]


def test_phases_by_hand():
    stream = tiny_stream("class", (10, 12, 7))
    phases = get_phases(KFPF(k=2, steps=5), stream)
    found = [(p.tasks[0], p.name, p.stage, p.portion) for p in phases]
    assert found == [
        (0, "learn", True, (0.0, 1.0)),
        (1, "learn", False, (0.0, 0.375)),
        (1, FINE_TUNE, False, (0.0, 1.0)),
        (1, "learn", True, (0.375, 1.0)),
        (2, "learn", False, (0.0, 1.0)),
        (2, FINE_TUNE, True, (0.0, 1.0)),
    ]
    assert get_phases(FPF(), stream) == get_phases(KFPF(k=1, steps=100), stream)
    assert get_phases(KFPF(k=0), stream) == get_phases(Naive(), stream)


def test_none_is_plain_learning_to_the_bit():
    for changes in ({}, {"dtype": "float32", "schedule": "cosine"}):
        plain, none = (trained(build(s, **changes)) for s in (Naive(), KFPF(k=0, modules="auto", kd=0.5)))
        assert all(same(getattr(plain, what), getattr(none, what)) for what in ("params", "buffers", "optim"))


@dataclass(frozen=True)
class Cut(Strategy):
    """Count hooks, and cut every phase."""

    name: ClassVar[str] = "cut"
    times: int = 5

    def phases(self, stream):
        sizes = [len(task.train) for task in stream]
        return [p for p in interleave(super().phases(stream), sizes, self.times, 1) if p.name == "learn"]

    def init(self, net, params, stream):
        return {"begun": torch.tensor(0), "ended": torch.tensor(0)}

    def begin_task(self, net, params, state, task):
        return params, {**state, "begun": state["begun"] + 1}

    def end_task(self, net, params, state, task):
        noise = {k: task.rng.normal(k, *p.shape, dtype=p.dtype) for k, p in params.items()}
        return {k: p + 0.01 * noise[k] for k, p in params.items()}, {**state, "ended": state["ended"] + 1}


@pytest.mark.parametrize("model", [tiny_norm, "mlp"])
def test_portions_are_the_whole_to_the_bit(model):
    changes = {"epochs": 3, "schedule": "cosine", "model": model if model is tiny_norm else nn.Linear(5, 6)}
    whole, cut = (trained(build(Cut(times), **changes)) for times in (0, 7))
    assert len(Cut(7).phases(tiny_stream("class", (10, 12, 7)))) > 7
    assert same(whole, cut)
    assert cut.state["cut"]["begun"].tolist() == cut.state["cut"]["ended"].tolist() == [3, 3]


@dataclass(frozen=True)
class Recorder(Strategy):
    """Notes the batches of the stream, and the strategy's random numbers."""

    name: ClassVar[str] = "recorder"
    seen: ClassVar[list] = []

    def after_step(self, net, params, state, step):
        drawn = step.batch.rng.uniform("any", 3)
        type(self).seen.append((step.batch.phase, step.batch.x.tolist(), drawn.tolist()))
        return params, state


def test_the_stream_is_drawn_as_if_fine_tuning_had_not_been():
    records = []
    for plugin in (Recorder(), Recorder() + KFPF(k=5, steps=2, modules="head")):
        engine = build(plugin, seeds=(3,), epochs=3)
        engine.mapper.mapped = False
        Recorder.seen.clear()
        trained(engine)
        records.append(list(Recorder.seen))
    assert records[0] == records[1]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    stream, plugin = tiny_stream("class", (10, 12, 7)), KFPF(10, k=5, steps=3, modules="auto")
    settings = make_settings(
        stream, model=tiny_norm, seeds=2, epochs=3, batch_size=4, optimizer="sgd(momentum=0.9)", lr=0.05,
        weight_decay=0.01, schedule="cosine", device="cpu", dtype="float64", eval_every=4,
    )  # fmt: skip
    whole = run(stream, plugin, settings)

    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    kept = Checkpoint(tmp_path / "0.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(stream, plugin, settings, stop, kept)
    again = run(stream, plugin, settings, checkpoint=kept)
    assert same(whole.scores, again.scores)
    assert same([c[2] for c in whole.curve], [c[2] for c in again.curve])
    assert whole.costs["steps"] == again.costs["steps"] == 24 + 5 * 3


# ---- sensitivity --------------------------------------------------------------------------------------


def test_the_state_adds_up_the_epochs_that_the_measurement_reports():
    stream = tiny_stream("class", (10, 12, 7))
    settings = {"epochs": 3, "batch_size": 4, "lr": 0.05, "weight_decay": 0.01, "dtype": "float64"}
    frame = measure_sensitivity(stream, model=tiny_norm, seeds=2, optimizer="sgd(momentum=0.9)", **settings)
    assert frame.groupby(["seed", "task", "module"]).size().eq(3).all()
    state = trained(build(KFPF(k=0, modules="auto"), epochs=3)).state["kfpf"]
    expected = frame.groupby(["seed", "module"])["sensitivity"].sum().unstack()
    np.testing.assert_allclose(state["moves"]["sums"].numpy(), expected.to_numpy(), rtol=1e-12)
    assert frame.groupby("module")["size"].first().tolist() == [36, 12, 42]


def test_what_fine_tuning_moves_is_no_sensitivity(monkeypatch):
    # Learning with rate 0 moves nothing, so all that moves is fine-tuning.
    def schedule(step, total):
        return 1.0 if total == 50 else 0.0

    monkeypatch.setitem(SCHEDULES._makers, "late", lambda: schedule)
    state = trained(build(KFPF(k=4, steps=50, modules="auto"), schedule="late"))
    assert state.state["kfpf"]["moves"]["sums"].max() < 1e-12
    start = build(Naive()).start().params
    assert not same(state.params, start)


def test_each_replica_tunes_its_own_most_sensitive_modules():
    checked = []

    def watch(phase, before, begun, after):
        state = before.state["fpf"]
        if phase.name == FINE_TUNE:
            moves = state["moves"]
            moved = moves["sums"] + vmap(sensitivity)(moves["before"], before.params)
            for i in range(4):
                chosen = {k: v[i] for k, v in after.state["fpf"]["chosen"].items()}
                best = int(moved[i].argmax())
                for j, names in enumerate(by_module(chosen).values()):
                    assert all(bool(chosen[n].all()) == bool(chosen[n].any()) == (j == best) for n in names)
                checked.append(best)

    trained(build(FPF(modules="auto", top=1), seeds=(0, 1, 2, 3)), watch)
    assert len(checked) == 4


def test_the_control_has_as_many_weights_and_others():
    counts, masks = [], []

    def watch(phase, before, begun, after):
        if phase.name == FINE_TUNE:
            chosen = after.state["kfpf"]["chosen"]
            flat = torch.cat([v.flatten(1) for v in chosen.values()], 1)
            counts.extend(flat.sum(1).tolist())
            masks.extend(tuple(row.tolist()) for row in flat)

    trained(build(KFPF(k=5, steps=1, modules="head", control=True), seeds=(0, 1, 2)), watch)
    assert counts == [6 * 6 + 6] * 15
    assert len(set(masks)) > 10
    touched = np.array(masks)[:, -42:].all(1)
    assert not touched.all()


# ---- matching -----------------------------------------------------------------------------------------


def test_stored_outputs_are_those_before_the_step(monkeypatch):
    engine = build(KFPF(50, k=1, steps=1, kd=1.0), model=nn.Linear(5, 6), seeds=(0,), epochs=1)
    engine.mapper.mapped = False
    outputs, step = [], Program.step

    def noted(program, replica, hyper, samples, at, phase):
        if phase.name == "learn":
            weight, bias = replica.params["weight"], replica.params["bias"]
            outputs.append((samples["x"] @ weight.T + bias)[samples["weight"] > 0])
        return step(program, replica, hyper, samples, at, phase)

    monkeypatch.setattr(Program, "step", noted)
    memory = trained(engine).state["kfpf"]["memory"]
    torch.testing.assert_close(memory["logits"][0, :29], torch.cat(outputs))


def test_strong_matching_holds_the_outputs():
    stream = tiny_stream("class", (40, 40))

    def distance(kd):
        engine = build(
            KFPF(80, k=1, steps=200, modules=[""], kd=kd), stream, nn.Linear(5, 4), optimizer=SGD()
        )
        replica = trained(engine)
        memory = replica.state["kfpf"]["memory"]
        weight, bias = replica.params["weight"], replica.params["bias"]
        outputs = memory["x"] @ weight.mT + bias.unsqueeze(1)
        return float((outputs - memory["logits"]).square().mean())

    assert distance(2.0) < 0.5 * distance(1e-9)


# ---- the whole ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    names = ["naive", "kfpf", "kfpf(modules='auto')", "kfpf(kd=0.2)", "kfpf(control=True)", "derpp + kfpf"]
    settings = {"epochs": 6, "quiet": True, "dtype": "float64"}
    return names, settings, compare("split-digits", [strategy(n) for n in names], seeds=3, **settings)


@pytest.mark.slow
def test_it_forgets_far_less_than_naive_and_than_its_control(digits):
    names, _, results = digits
    scores = dict(zip(names, results.scores.values(), strict=True))
    lost = {n: float((s[:, :-1].max(1) - s[:, -1])[:, :-1].mean()) for n, s in scores.items()}
    assert max(v for n, v in lost.items() if n not in ("naive", "kfpf(control=True)")) < 0.35 * lost["naive"]
    assert lost["kfpf"] < 0.5 * lost["kfpf(control=True)"]


@pytest.mark.slow
def test_costs_count_every_sample_and_operation(digits):
    names, _, results = digits
    costs = dict(zip(names, results.costs.values(), strict=True))
    extras = dict(zip(names, results.extras.values(), strict=True))
    assert costs["kfpf"]["samples_seen"] == costs["naive"]["samples_seen"] + 5 * 50 * 32
    assert costs["kfpf"]["steps"] == costs["naive"]["steps"] + 5 * 50
    # 64 inputs, layers of 256 and 256, 10 outputs. Learning takes three products per weight, but no gradient
    # of the inputs; fine-tuning the head takes all products forward, and the gradient of its own weights.
    weights = [64 * 256, 256 * 256, 256 * 10]
    share = (sum(weights) + weights[2]) / (3 * sum(weights) - weights[0])
    per_step = costs["naive"]["flops"] / costs["naive"]["steps"]
    for name, c in (("kfpf", share), ("kfpf(modules='auto')", 1.0)):
        assert sum(extras[name]["training_flops"]) == pytest.approx(costs[name]["flops"], rel=1e-12)
        extra = costs[name]["flops"] - costs["naive"]["flops"]
        assert extra == pytest.approx(c * per_step * 5 * 50, rel=0.05), name
    # The yardstick, one pass over each task, is the same for all.
    np.testing.assert_allclose(
        sum(extras["kfpf"]["pass_flops"]), sum(extras["naive"]["pass_flops"]), rtol=1e-12
    )


@pytest.mark.slow
def test_a_replica_learns_the_same_alone(digits):
    names, settings, results = digits
    chosen = [n for n in names if "kfpf" in n]
    alone = compare("split-digits", [strategy(n) for n in chosen], seeds=[2], **settings).scores
    for one, three in zip(alone.values(), list(results.scores.values())[1:], strict=True):
        np.testing.assert_allclose(one[0], three[2], atol=1e-9)


SPECS = [
    "fpf(steps=5)",
    "kfpf(10, steps=4, k=4)",
    "kfpf(10, steps=4, modules='auto', kd=0.5, top=1)",
    "kfpf(steps=4, control=True)",
    "derpp(6) + kfpf(steps=4)",
    "ewc + fpf(steps=4, modules=['1'])",
]


@pytest.mark.parametrize("spec", SPECS)
def test_contract(spec, level):
    stream = tiny_stream("class", (10, 12, 7)) if "derpp" in spec or "ewc" in spec else None
    check_strategy(strategy(spec), stream, level=level)


def test_refusals():
    for maker in (FPF, KFPF):
        with pytest.raises(PerdureError) as refused:
            maker(capacity=0)
        said = "fine-tunes on remembered samples: set capacity to at least 1, or use 'naive'"
        assert str(refused.value) == f"{maker.name} {said}, which remembers none; found capacity=0"
    with pytest.raises(PerdureError, match=r"^kfpf: capacity must be a whole number; found 2.5$"):
        KFPF(2.5)
    with pytest.raises(PerdureError, match="k must be a whole number of at least 0; found -1"):
        KFPF(k=-1)
    with pytest.raises(PerdureError, match="kd must be at least 0"):
        KFPF(kd=-1)
    with pytest.raises(PerdureError, match="steps"):
        FPF(steps=0)
    with pytest.raises(PerdureError, match="top"):
        FPF(top=0)
    with pytest.raises(PerdureError, match=r"modules must be 'auto', .* among '1', '2', '5'; found '7'"):
        build(FPF(modules="head, 7")).start()
    with pytest.raises(PerdureError, match="found none for 'norm'"):
        build(FPF(modules="norm"), model=nn.Linear(5, 6)).start()
    for other in ("gdumb", "packnet", "fpf"):
        with pytest.raises(PerdureError, match="in between passes over the stream; found the phase"):
            get_phases(strategy(f"{other} + kfpf"), tiny_stream("task", (6, 6)))


@pytest.mark.parametrize("order", ["adaptive-svd + kfpf(k=4, steps=3)", "kfpf(k=4, steps=3) + adaptive-svd"])
def test_fine_tuning_comes_between_the_phases_of_another_strategy(order):
    stream = tiny_stream("class", (6, 6))
    both, alone = (strategy(s).phases(stream) for s in (order, "adaptive-svd"))
    assert [p.name for p in both] == [n for p in alone for n in (p.name, "fine-tune") * 2]
    assert [(p.name, p.reset) for p in both if p.name != "fine-tune"] == [
        (p.name, p.reset) for p in alone for _ in range(2)
    ]
    assert sum(p.stage for p in both) == 2


@pytest.mark.parametrize("other", ["adaptive-svd", "joint", "o-lora(rank=2)"])
def test_any_strategy_of_plain_passes_can_be_fine_tuned(other):
    check_strategy(strategy(f"{other} + kfpf(capacity=6, steps=2, k=3)"), level="quick")


def test_without_a_memory_the_command_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["perdure", "compare", "split-digits", "kfpf(capacity=0)", "--quiet"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert err == (
        "perdure: kfpf fine-tunes on remembered samples: set capacity to at least 1, or use 'naive', which "
        "remembers none; found capacity=0\n"
    )
