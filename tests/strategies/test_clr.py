"""Channel-wise lightweight reprogramming."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.engine.engine import Engine
from perdure.models.adapters.anchored import layout, load_anchor, load_deltas, plain_names, reprogram
from perdure.optim.adam import Adam
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification, Part, Stream, Task
from perdure.strategies import CLR, get, get_deltas, save_anchor, save_deltas
from perdure.testing import check_strategy, tiny_stream
from perdure.training import Training


def images(tasks=3, n=24, setting="task", seed=0):
    """Each task: which of two stripes of its own an image has."""
    source = torch.Generator().manual_seed(seed)

    def part(t, n):
        y = torch.arange(n) % 2
        x = torch.randn(n, 1, 6, 6, generator=source) * 0.3 + 0.5 * t
        stripes = torch.zeros(2, 6, 6)
        stripes[0, t], stripes[1, :, t] = 3.0, 3.0
        return Part(x + stripes[y].unsqueeze(1), y + 2 * t)

    made = [Task(f"task {t}", part(t, n), part(t, 4), part(t, 10), (2 * t, 2 * t + 1)) for t in range(tasks)]
    return Stream("stripes", tuple(made), setting, 2 * tasks)


def small(shape=(1, 6, 6), outputs=6):
    return nn.Sequential(
        nn.Conv2d(shape[0], 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
        nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, outputs),
    )  # fmt: skip


def sized(shape, outputs):
    return small(shape, outputs)


def on_rows(shape, outputs):
    """A net for the tiny streams of `check_strategy`, whose samples are five numbers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.ReLU(),
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(20, outputs),
    )  # fmt: skip


def answers(engine, replica, r=0):
    """Logits of all test samples of one replica, as scoring gets them, in one mixed batch."""
    own = state_of(replica, r)
    net = engine.program.net({k: v[r] for k, v in replica.buffers.items()})
    params = {k: v[r] for k, v in replica.params.items()}
    with torch.no_grad():
        return CLR().forward(net, params, own, *mixed(engine.stream))


def mixed(stream):
    x = torch.cat([t.test.x for t in stream])
    return x, torch.cat([torch.full((len(t.test),), i) for i, t in enumerate(stream)])


def state_of(replica, r=0):
    held = replica.state["clr"]
    return {k: {n: v[r] for n, v in s.items()} if isinstance(s, dict) else s[r] for k, s in held.items()}


def own_of(replica, t, r=0):
    return {k: v[t] for k, v in state_of(replica, r)["bank"].items()}


def anchor_of(engine, replica):
    names = set(layout(engine.program.module).deltas)
    return {k: v.clone() for k, v in {**replica.buffers, **replica.params}.items() if k not in names}


def learn(strategy, stream, model=sized, optimizer=AdamW(), seeds=(0,), decay=0.1, epochs=3):  # noqa: B008
    """Yield the engine, the phase, and the replicas after each phase."""
    training = Training(epochs, 8, optimizer, 0.01, decay, device="cpu")
    engine = Engine(stream, strategy, training, model, seeds)
    replica = engine.start()
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
        yield engine, phase, replica


# ---- what is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [AdamW(), Adam(), SGD(momentum=0.9)], ids=["adamw", "adam", "sgd"])
@pytest.mark.parametrize("pretrain", [0, 1, 2])
def test_nothing_is_forgotten_to_the_bit(optimizer, pretrain):
    stream, logits, anchor = images(), {}, None
    strategy = CLR(variant="scalar", pretrain=pretrain)
    for engine, phase, replica in learn(strategy, stream, optimizer=optimizer):
        if phase.name == "anchor":
            continue
        now = answers(engine, replica)
        _, task = mixed(stream)
        for t in range(phase.tasks[-1]):
            assert torch.equal(now[task == t], logits[t]), f"task {t} after task {phase.tasks[-1]}"
        logits[phase.tasks[-1]] = now[task == phase.tasks[-1]]
        held = anchor_of(engine, replica)
        anchor = held if anchor is None else anchor
        assert all(torch.equal(anchor[k], v) for k, v in held.items())
        assert set(held) == {"0.conv.weight", "3.conv.weight", "3.conv.bias", "6.conv.weight",
                             "6.conv.bias", "10.weight", "10.bias"}  # fmt: skip
    # Every tensor of a task is its own: none is where it started, none is another task's.
    first, last = (own_of(replica, t) for t in (0, 2))
    start = state_of(replica)["start"]
    for k in layout(engine.program.module).deltas:
        if "num_batches" not in k:
            assert not torch.equal(first[k], last[k]), k
            assert not torch.equal(last[k], start[k]), k


def test_only_the_phase_of_the_anchor_trains_the_anchor():
    begun = reprogram(small())
    for engine, phase, replica in learn(CLR(pretrain=2), images()):
        held = {**replica.buffers, **replica.params}
        if phase.name == "anchor":
            assert phase.tasks == (0, 1)
            assert not phase.stage
            for k in layout(engine.program.module).kernels:
                assert torch.equal(held[k][0], begun.state_dict()[k]), "filters wait for their task"
            norm = {k: held[k][0].clone() for k in ("1.weight", "1.running_mean")}
            anchor, untrained = anchor_of(engine, replica), anchor_of(engine, engine.start())
            assert not any(torch.equal(v, untrained[k]) for k, v in anchor.items())
    assert all(torch.equal(anchor[k], v) for k, v in anchor_of(engine, replica).items())
    start = state_of(replica)["start"]
    assert all(torch.equal(start[k], v) for k, v in norm.items()), "norms start as the anchor's"


def test_no_gradient_is_taken_of_what_a_phase_does_not_train():
    for engine, phase, replica in learn(CLR(), images(2), optimizer=Adam(), decay=0.0):
        names, first = layout(engine.program.module), replica.optim["first"]
        rests = names.kernels if phase.name == "anchor" else set(first) - set(names.deltas)
        assert rests
        for k, v in first.items():
            assert (v == 0).all() == (k in rests), k


@pytest.fixture(scope="module")
def kept():
    results = compare(images(), {"clr": CLR(variant="scalar")}, model=sized, seeds=2, epochs=3, batch_size=8,
                      optimizer="adam", lr=0.01, quiet=True, keep=True)  # fmt: skip
    return results.trained["clr"]


@pytest.mark.parametrize("k", [0, 1])
def test_the_deltas_alone_bring_a_task_back_to_the_bit(kept, k, tmp_path):
    save_anchor(kept, tmp_path / "anchor", k)
    model = small()
    load_anchor(model, tmp_path / "anchor")
    model = reprogram(model, "scalar").eval()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    mine = set(layout(model).deltas)
    for t in (2, 0, 1):
        file = tmp_path / f"{t}.safetensors"
        save_deltas(kept, file, task=t, k=k)
        assert set(load_file(file)) == mine, "nothing of the anchor is in the file"
        load_deltas(model, file)
        x = images()[t].test.x
        with torch.no_grad():
            mine_now = model(x)[:, 2 * t : 2 * t + 2]
        assert torch.equal(mine_now, kept.chosen(slice(k, k + 1)).predict(x, t)[0, :, 2 * t : 2 * t + 2])
        assert all(torch.equal(v, get_deltas(kept, t, k)[n]) for n, v in load_file(file).items())
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items() if n not in mine)


def test_the_anchor_of_a_run_is_the_start_of_another(kept, tmp_path):
    save_anchor(kept, tmp_path / "anchor", 1)
    held = load_file(tmp_path / "anchor")
    assert set(held) == {n for n in small().state_dict() if not n.startswith("12.")}, "plain names, no head"
    strategy = CLR(anchor=str(tmp_path / "anchor"))
    assert [p.name for p in strategy.phases(images())] == ["learn"] * 3, (
        "an anchor that is given is not trained"
    )
    for engine, _, replica in learn(strategy, images()):
        for n, v in anchor_of(engine, replica).items():
            assert torch.equal(v[0], held[plain_names(engine.program.module)[n]])
    start = state_of(replica)["start"]
    assert all(
        torch.equal(start[n], kept.state("clr", 1)["start"][n]) for n in layout(engine.program.module).norms
    )


def test_what_is_not_there_is_not_saved(kept):
    with pytest.raises(PerdureError, match=r"expected a task in \[0, 3\); found 3"):
        get_deltas(kept, 3)
    with pytest.raises(PerdureError, match=r"expected a replica in \[0, 2\); found 2"):
        get_deltas(kept, 0, k=2)


def test_a_mixed_batch_is_answered_by_each_samples_own_task():
    stream = images()
    for engine, phase, replica in learn(CLR(), stream):  # noqa: B007
        pass
    together = answers(engine, replica)
    x, task = mixed(stream)
    back = torch.argsort(torch.arange(len(x)) * 7 % len(x))
    net = engine.program.net({k: v[0] for k, v in replica.buffers.items()})
    params = {k: v[0] for k, v in replica.params.items()}
    with torch.no_grad():
        shuffled = CLR().forward(net, params, state_of(replica), x[back], task[back])
    torch.testing.assert_close(shuffled, together[back])
    for t in range(3):
        model = reprogram(small()).eval()
        held = {**anchor_of(engine, replica)}
        model.load_state_dict({**{k: v[0] for k, v in held.items()}, **own_of(replica, t)})
        with torch.no_grad():
            own = model(x[task == t])[:, 2 * t : 2 * t + 2]
        torch.testing.assert_close(together[task == t][:, 2 * t : 2 * t + 2], own)


# ---- the loss -----------------------------------------------------------------------------------------


def test_the_penalty_is_the_sum_of_the_norms_not_squared():
    strategy, stream = CLR(penalty=0.5), images()
    model = strategy.extend(small(), stream)
    net, params = (
        Net(model, dict(model.named_buffers()), None, Classification()),
        dict(model.named_parameters()),
    )
    state = strategy.init(net, params, stream)
    batch = Batch(
        {"x": torch.zeros(1), "y": torch.zeros(1), "task": torch.zeros(1), "weight": torch.ones(1)},
        torch.tensor(0),
        None,
    )
    base = torch.tensor([2.0])
    own = [params[k] for k in layout(model).deltas if k in params]
    by_hand = 2.0 + 0.5 * sum(float(v.detach().double().square().sum().sqrt()) for v in own)
    total = strategy.losses(net, params, state, batch, base)
    assert float(total.detach()) == pytest.approx(by_hand, rel=1e-6)
    assert len(own) == 2 + 6 + 2  # filters, three affine pairs, the head
    # A bias that is all 0 has no direction to shrink in: its gradient is 0, not NaN.
    slopes = torch.autograd.grad(total.sum(), own)
    assert all(s.isfinite().all() for s in slopes)
    unit = params["0.kernel"] / params["0.kernel"].norm()
    torch.testing.assert_close(slopes[0], 0.5 * unit)
    assert strategy.losses(net, params, state, replace(batch, phase="anchor"), base) is base


# ---- in runs ------------------------------------------------------------------------------------------


def test_compare_shows_no_forgetting():
    results = compare(images(3, 40), ["naive", "clr"], model=sized, seeds=2, epochs=6, batch_size=8,
                      optimizer="adam", lr=0.02, weight_decay=0.01, quiet=True)  # fmt: skip
    scores = results.scores["clr"]
    assert scores.shape == (2, 3, 3)
    for t in range(3):
        np.testing.assert_array_equal(scores[:, t:, t], scores[:, t : t + 1, t].repeat(3 - t, 1))
    assert scores[:, -1].mean() >= 0.9
    assert (results.scores["naive"][:, -1, 0] < results.scores["naive"][:, 0, 0]).any()


def test_the_task_at_hand_is_scored_while_it_is_learned():
    stream = images(2, 40)
    strategy = CLR(pretrain=1)
    engine = Engine(stream, strategy, Training(2, 8, Adam(), 0.02, device="cpu"), sized, [0])
    replica, own = engine.start(), slice(0, 10)
    for phase in strategy.phases(stream):
        data, before = engine.load(phase), answers(engine, replica)
        replica = engine.boundary(replica, phase, data, "begin_task")
        if phase.name != "anchor":
            held = {**replica.buffers, **replica.params}
            start = state_of(replica)["start"]
            assert all(torch.equal(held[k][0], v) for k, v in start.items()), "every task starts anew"
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        during = answers(engine, replica)
        replica = engine.boundary(replica, phase, data, "end_task")
        after = answers(engine, replica)
        assert not state_of(replica)["live"].any()
        if phase.name == "anchor":
            assert not torch.equal(before, during)
        else:
            assert torch.equal(during, after)
            assert torch.equal(during[own], before[own]) == (phase.tasks != (0,))


@pytest.mark.slow
def test_a_replica_learns_the_same_alone_as_among_three():
    check_strategy(CLR(variant="scalar"), images(2, 5), model=sized)


def test_mapped_over_replicas_it_gives_the_same_as_one_by_one():
    stream, ends = images(2, 8), []
    for unroll in (True, False):
        training = Training(1, 4, SGD(momentum=0.9), 0.01, 0.1, device="cpu", dtype="float64")
        engine = Engine(stream, CLR(), training, sized, [0, 1])
        engine.mapper.unroll = unroll
        replica = engine.start()
        for phase in engine.strategy.phases(stream):
            data = engine.load(phase)
            replica = engine.boundary(replica, phase, data, "begin_task")
            for replica in engine.train(replica, phase, data):  # noqa: B007, B020
                pass
            replica = engine.boundary(replica, phase, data, "end_task")
        engine.evaluate(replica)
        assert engine.mapper.mapped
        ends.append({**replica.params, **replica.state["clr"]["bank"]})
    for k, v in ends[0].items():
        torch.testing.assert_close(v, ends[1][k])


@pytest.mark.parametrize("spec", ["clr(pretrain=2, penalty=0.1)", "clr(variant='full', pretrain=0)"])
def test_it_keeps_the_contract(spec, level):
    check_strategy(get(spec), model=on_rows, level="quick")
    check_strategy(get(spec), tiny_stream("task", (9, 12, 7)), model=on_rows, level=level)


def test_an_anchor_from_elsewhere(tmp_path):
    torch.manual_seed(5)
    pretrained, path = small(outputs=100), tmp_path / "anchor.safetensors"
    save_file(pretrained.state_dict(), path)
    strategy = CLR(pretrain=0, anchor=str(path))
    for engine, _, replica in learn(strategy, images(), seeds=(0, 1)):
        held = anchor_of(engine, replica)
        for k, v in held.items():
            assert torch.equal(v[0], pretrained.state_dict()[k.replace(".conv", "")]), k
            assert torch.equal(v[0], v[1]), k
        assert not torch.equal(replica.params["12.weight"][0], replica.params["12.weight"][1])


def test_a_pretrained_module_is_left_alone():
    model = small(outputs=4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    compare(images(2), [CLR(pretrain=0)], model=model, pretrained=True, seeds=2, epochs=1, quiet=True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


# ---- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["domain", "class", "joint"])
def test_other_settings_are_refused(setting):
    with pytest.raises(PerdureError, match=f"give a stream with setting='task'; found setting='{setting}'"):
        compare(tiny_stream(setting, (6, 6)), ["clr"], model=on_rows, quiet=True)


def test_a_model_without_convolutions_is_refused():
    with pytest.raises(PerdureError, match="give a model with a Conv2d") as caught:
        compare(tiny_stream("task", (6, 6)), ["clr"], model="mlp", quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"variant": "half"}, "variant must be 'default', 'full' or 'scalar'; found 'half'"),
        ({"pretrain": -1}, "pretrain must be at least 0"),
        ({"pretrain_epochs": 0}, "pretrain_epochs must be at least 1"),
        ({"penalty": -1.0}, "penalty must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, line):
    with pytest.raises(PerdureError, match=line):
        CLR(**settings)


def test_streams_and_files_that_do_not_fit_are_refused(tmp_path):
    stream = images(2)
    with pytest.raises(PerdureError, match="pretrain must be at most the 2 tasks"):
        compare(stream, [CLR(pretrain=3)], model=sized, quiet=True)
    with pytest.raises(PerdureError, match="may be passed over once: set pretrain=0"):
        compare(replace(stream, online=True), ["clr"], model=sized, quiet=True)
    with pytest.raises(PerdureError, match="found none at"):
        CLR(anchor=str(tmp_path / "none")).extend(small(), stream)
    save_file(nn.Sequential(nn.Conv2d(1, 2, 3)).state_dict(), tmp_path / "other")
    with pytest.raises(PerdureError, match=r"must hold '0\.weight' of shape \(3, 1, 3, 3\)"):
        CLR(anchor=str(tmp_path / "other")).extend(small(), stream)
