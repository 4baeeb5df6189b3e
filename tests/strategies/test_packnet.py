"""PackNet."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.engine.engine import Engine
from perdure.models.inspect import find_head
from perdure.optim.adam import Adam
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.strategies import Naive, PackNet, get
from perdure.strategies.contract.phase import Step
from perdure.strategies.isolation.packnet import smallest
from perdure.testing import check_strategy, tiny_model, tiny_norm, tiny_stream
from perdure.training import Training

OPTIMIZERS = {"sgd": SGD(momentum=0.9, nesterov=True), "adam": Adam(), "adamw": AdamW()}


def convolved(shape, outputs):
    """A net with batch norm whose head is a convolution, for samples of five numbers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 4, (1, 3), padding=(0, 1)), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, 1, bias=False), nn.BatchNorm2d(3, affine=False), nn.ReLU(),
        nn.Conv2d(3, outputs, (1, 5)), nn.Flatten(),
    )  # fmt: skip


def learn(
    strategy, stream, model=tiny_model, optimizer=Adam(), seeds=(0,), decay=0.1, epochs=2, *,  # noqa: B008
    schedule="constant", mapped=False,
):  # fmt: skip
    """Yield the engine, the phase, and the replicas as each phase begins, after each step, and as it ends."""
    training = Training(epochs, 4, optimizer, 0.02, decay, schedule, device="cpu")
    engine = Engine(stream, strategy, training, model, seeds)
    if not mapped:  # A few steps are done sooner than recorded.
        engine.mapper.mapped = False
        engine.program = replace(engine.program, mappable=False)
    replica = engine.start()
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        yield engine, phase, "begun", replica
        for replica in engine.train(replica, phase, data):  # noqa: B020
            yield engine, phase, "step", replica
        replica = engine.boundary(replica, phase, data, "end_task")
        yield engine, phase, "ended", replica


def ends(*args, **kwargs):
    """Yield the engine, the task and the replicas after each task."""
    for engine, phase, moment, replica in learn(*args, **kwargs):
        if (phase.name, moment) == ("retrain", "ended"):
            yield engine, phase.tasks[0], replica


def one(replica, r=0):
    """Parameters, buffers and state of one replica."""
    held = replica.state["packnet"]
    state = {k: {n: v[r] for n, v in s.items()} if isinstance(s, dict) else s[r] for k, s in held.items()}
    params, buffers = ({k: v[r] for k, v in part.items()} for part in (replica.params, replica.buffers))
    return params, buffers, state


def answers(engine, params, buffers, state, task):
    """Outputs for the test samples of all tasks, as if they belonged to this one."""
    x = torch.cat([t.test.x for t in engine.stream])
    net = engine.program.net(buffers)
    with torch.no_grad():
        return PackNet().forward(net, params, state, x, torch.full((len(x),), task))


# ---- by hand ------------------------------------------------------------------------------------------


def test_the_smallest_by_hand():
    weight = torch.tensor([[3.0, -1.0, 0.5], [-2.0, 0.0, 1.0]])
    every = torch.ones(2, 3, dtype=torch.bool)
    # 6 * 0.5 = 3: 0, 0.5, and of the two of magnitude 1 the first.
    assert smallest(weight, every, 0.5).tolist() == [[False, True, True], [False, True, False]]
    # Among four of them: floor(4 * 0.7) = 2, which are 0.5 and 1.
    among = torch.tensor([[True, False, True], [True, False, True]])
    assert smallest(weight, among, 0.7).tolist() == [[False, False, True], [False, False, True]]
    assert not smallest(weight, ~every, 0.9).any()
    # 0.1 * 30 is above 3 in floating point, 0.7 * 10 below 7: both are meant exactly.
    ramp = torch.arange(30.0)
    assert int(smallest(ramp, ramp >= 0, 0.1).sum()) == 3
    assert int(smallest(ramp, ramp < 10, 0.7).sum()) == 7


def test_two_tasks_by_hand():
    """A layer of one row of five weights, [0.5, -0.1, 0.3, 0.2, -0.4], and prune=0.5."""
    strategy, stream = PackNet(0.5), tiny_stream("task", (6, 6))
    model = strategy.extend(nn.Sequential(nn.Linear(5, 1), nn.Linear(1, 4)), stream)
    engine = Engine(stream, strategy, Training(1, 4, device="cpu"), lambda: model, [0])
    net = engine.program.net({})
    params = {
        "0.weight": torch.tensor([[0.5, -0.1, 0.3, 0.2, -0.4]]), "0.bias": torch.tensor([0.7]),
        "1.weight": torch.zeros(4, 1), "1.bias": torch.zeros(4),
    }  # fmt: skip
    state = strategy.init(net, params, stream)
    learned, phases = strategy.phases(stream)[::2], strategy.phases(stream)[1::2]

    def data(phase):
        return type("Data", (), {"index": phase.tasks[0], "phase": phase})()

    def owner(state):
        return state["owner"]["0.weight"].tolist()[0]

    params, state = strategy.begin_task(net, params, state, data(learned[0]))
    params, state = strategy.end_task(net, params, state, data(learned[0]))
    # floor(5 / 2) = 2 are given back: 0.1 and 0.2.
    assert owner(state) == [0, 2, 0, 2, 0]
    assert params["0.weight"].tolist() == torch.tensor([[0.5, 0.0, 0.3, 0.0, -0.4]]).tolist()
    params = {**params, "1.weight": torch.ones(4, 1)}
    params, state = strategy.end_task(net, params, state, data(phases[0]))
    params, state = strategy.begin_task(net, params, state, data(learned[1]))
    assert owner(state) == [0, 1, 0, 1, 0]
    assert not params["1.weight"].any(), "the head starts as drawn"
    # A step moves everything by 1, of which the task's own and the head stay moved.
    zero = torch.zeros((), dtype=torch.int64)
    batch = Batch({"x": zero, "y": zero, "task": zero, "weight": zero}, zero + 1, None)
    moved = {k: v + 1.0 for k, v in params.items()}
    moved, state = strategy.after_step(net, moved, state, Step(batch, params, {}))
    assert moved["0.weight"].tolist() == torch.tensor([[0.5, 1.0, 0.3, 1.0, -0.4]]).tolist()
    assert moved["0.bias"].item() == pytest.approx(0.7)
    assert moved["1.weight"].tolist() == [[1.0]] * 4
    # floor(2 / 2) = 1 is given back: of two that are equal, the first.
    params, state = strategy.end_task(net, {**moved, "1.weight": torch.full((4, 1), 2.0)}, state,
                                      data(learned[1]))  # fmt: skip
    assert owner(state) == [0, 2, 0, 1, 0]
    # x = 1 for every input: task 0 answers with 0.5 + 0.3 - 0.4 + 0.7, task 1 with one more, times its head.
    x = torch.ones(1, 5)
    found = [strategy.forward(net, params, state, x, torch.tensor([t]))[0, 2 * t].item() for t in (0, 1)]
    assert found == pytest.approx([1.1 * 1.0, 2.1 * 2.0 + 1.0])


# ---- what must hold -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "optimizer", "mapped"),
    [
        (tiny_model, "adam", False),
        (tiny_norm, "sgd", True),
        (tiny_norm, "adamw", False),
        (convolved, "adam", False),
    ],
)
def test_nothing_is_forgotten_to_the_bit(model, optimizer, mapped):
    stream, logits, optimizer = tiny_stream("task", (8, 4, 8)), {}, OPTIMIZERS[optimizer]
    for engine, task, replica in ends(PackNet(0.6), stream, model, optimizer, seeds=(0, 1), mapped=mapped):
        for r in (0, 1):
            for t in range(task + 1):
                now = answers(engine, *one(replica, r), t)
                assert torch.equal(now, logits.setdefault((r, t), now)), f"task {t} after task {task}"
    assert engine.mapper.mapped == mapped
    assert not torch.equal(logits[0, 0][:, :2], logits[1, 0][:, :2])
    # The head of each task is its own, and other outputs are closed.
    assert (logits[0, 1][:, [0, 1, 4, 5]] == -1e9).all()


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_the_numbers_owned_follow_the_formula(share):
    """Of n free weights a task keeps n - floor(share * n), in each layer; one owner each."""
    free = {"1.weight": 30, "3.weight": 54}

    def wide(shape, outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 9), nn.ReLU(),
                             nn.Linear(9, outputs))  # fmt: skip

    before = {}
    for _, task, replica in ends(PackNet(share), tiny_stream("task", (6, 6, 6)), wide, seeds=(0, 1)):
        given = {k: math.floor(round(share * n, 9)) for k, n in free.items()}
        for r in (0, 1):
            params, _, state = one(replica, r)
            assert set(state["owner"]) == set(free), "biases and the head are not shared out"
            for k, owner in state["owner"].items():
                assert int((owner == task).sum()) == free[k] - given[k], (k, task)
                assert int((owner == 3).sum()) == given[k]
                assert (params[k][owner == 3] == 0).all(), "what nobody owns is exactly 0"
                last = before.get((r, k), owner)
                assert torch.equal(owner[last < 3], last[last < 3]), "an owner stays"
                before[r, k] = owner
        free = given


def test_the_first_numbers_by_hand():
    # 30 weights, prune 0.5: 15, then floor(7.5) = 7 of 15 go back and 8 stay, then 3 of 7 and 4 stay.
    (*_, (_, _, replica)) = ends(PackNet(), tiny_stream("task", (6, 6, 6)))
    owner = one(replica)[2]["owner"]["1.weight"]
    assert torch.bincount(owner.flatten(), minlength=4).tolist() == [15, 8, 4, 3]


def test_a_task_does_not_depend_on_later_tasks_weights():
    (*_, (engine, _, replica)) = ends(PackNet(), tiny_stream("task", (6, 6, 6)))
    params, buffers, state = one(replica)
    for t in range(3):
        later = {k: torch.where(o > t, 1e3 * torch.randn_like(params[k]), params[k])
                 for k, o in state["owner"].items()}  # fmt: skip
        own = {k: torch.where(o == t, params[k] + 1.0, params[k]) for k, o in state["owner"].items()}
        now = answers(engine, params, buffers, state, t)
        assert torch.equal(now, answers(engine, {**params, **later}, buffers, state, t))
        assert not torch.equal(now, answers(engine, {**params, **own}, buffers, state, t))


def test_only_what_is_the_tasks_own_moves_and_what_is_pruned_stays_zero_while_retraining():
    previous, norms = None, {}
    stream = tiny_stream("task", (8, 8))
    for _, phase, moment, replica in learn(PackNet(), stream, tiny_norm, SGD(momentum=0.9)):
        params, buffers, state = one(replica)
        task, owner = phase.tasks[0], state["owner"]["1.weight"]
        if moment == "step":
            moved = params["1.weight"] != previous["1.weight"]
            assert not moved[owner != task].any()
            assert moved[owner == task].any()
            assert torch.equal(params["1.bias"], previous["1.bias"]) == (task > 0)
            if phase.name == "retrain":
                assert (params["1.weight"][owner == 2] == 0).all()
            else:
                assert not (owner == 2).any(), "a task trains all that is free"
        previous = params
        if (phase.name, moment) == ("retrain", "ended"):
            norms[task] = {k: v for k, v in {**buffers, **params}.items() if k.startswith("2.norm")}
    assert len(norms[0]) == 5
    for k, v in norms[0].items():
        assert torch.equal(v, norms[1][k]), k
    assert norms[0]["2.norm.running_mean"].abs().max() > 0


def test_after_the_first_task_norms_go_by_their_statistics_in_training_too():
    held = []
    stream = tiny_stream("task", (8, 8))
    for engine, _, moment, replica in learn(PackNet(), stream, tiny_norm):
        if moment == "begun":
            params, buffers, _ = one(replica)
            module = engine.program.module
            x = stream[1].train.x
            outs = []
            for training in (True, False):
                module.train(training)
                tensors = {k: v.clone() for k, v in {**params, **buffers}.items() if k[:2] != "5."}
                with torch.no_grad():
                    outs.append(torch.func.functional_call(module[:3], tensors, (x,)))
            held.append(torch.equal(*outs))
            moves = not torch.equal(tensors["2.norm.running_mean"], buffers["2.norm.running_mean"])
            assert not moves, "evaluation changes no statistics"
    assert held == [False, False, True, True]


def test_the_first_task_is_learned_as_without_it_and_all_weights_answer_until_then():
    stream, ways = tiny_stream("task", (8, 4)), []
    for strategy in (Naive(), PackNet()):
        way = []
        for engine, phase, moment, replica in learn(strategy, stream, tiny_norm, SGD(momentum=0.9)):
            if phase.name == "retrain" or phase.tasks != (0,):
                break
            if moment != "ended":
                tensors = {**replica.params, **replica.buffers}
                scores = engine.evaluate(replica)
                way.append([scores, *(v for k, v in tensors.items() if not k.endswith("held"))])
        ways.append(way)
    assert [len(way) for way in ways] == [5, 5]
    for one_of, other in zip(*ways, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one_of, other, strict=True))


def test_retraining_takes_half_the_steps_or_the_epochs_asked_for():
    stream = tiny_stream("task", (8, 8))

    def counts(strategy, epochs):
        seen = {}
        for _, phase, moment, _ in learn(strategy, stream, epochs=epochs):
            key = (phase.tasks[0], phase.name)
            seen[key] = seen.get(key, 0) + (moment == "step")
        return list(seen.values())

    assert counts(PackNet(), 4) == [8, 4, 8, 4]
    assert counts(PackNet(retrain_epochs=3), 4) == [8, 6, 8, 6]
    # Half the steps are those of the schedule's second half: weights move less and less.
    moves, before = [], None
    for _, phase, moment, replica in learn(PackNet(), stream, optimizer=SGD(), schedule="cosine", epochs=4,
                                           decay=0.0):  # fmt: skip
        weight = one(replica)[0]["1.weight"]
        if phase.name == "retrain" and phase.tasks == (0,) and moment == "step":
            moves.append(float((weight - before).abs().max()))
        before = weight
    assert moves[-1] < 0.5 * moves[0]


def test_the_last_head_of_all_outputs_is_found():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    assert find_head(model, 4) == "1"
    assert find_head(nn.Linear(5, 4), 4) == ""
    assert find_head(convolved((5,), 7), 7) == "7"


@pytest.mark.parametrize("setting", ["domain", "class", "joint"])
def test_other_settings_are_refused(setting):
    with pytest.raises(PerdureError, match=f"give a stream with setting='task'; found setting='{setting}'"):
        compare(tiny_stream(setting, (6, 6)), ["packnet"], quiet=True)


def test_streams_and_models_that_do_not_fit_are_refused():
    stream = tiny_stream("task", (6, 6))
    with pytest.raises(PerdureError, match="found an online stream"):
        compare(replace(stream, online=True), ["packnet"], quiet=True)
    with pytest.raises(PerdureError, match="layer with 4 outputs; found none in Sequential") as caught:
        PackNet().extend(nn.Sequential(nn.Linear(5, 8)), stream)
    assert "\n" not in str(caught.value)
    with pytest.raises(PerdureError, match="besides the head; found none in Linear"):
        PackNet().extend(nn.Linear(5, 4), stream)


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_shares_that_make_no_sense_are_refused(share):
    with pytest.raises(
        PerdureError, match=r"prune, a share, must lie in \(0, 1\); found|prune must be a finite number"
    ):
        PackNet(share)


def test_epochs_are_whole():
    with pytest.raises(PerdureError, match="retrain_epochs must be a whole number"):
        PackNet(retrain_epochs=0)


@pytest.mark.parametrize(
    ("spec", "model"), [("packnet(prune=0.75, retrain_epochs=2)", tiny_norm), ("packnet + ewc", tiny_model)]
)
def test_it_keeps_the_contract_where_it_is_at_home(spec, model, level):
    check_strategy(get(spec), tiny_stream("task", (8, 4)), model=model, level=level)


def test_it_forgets_nothing_on_digits():
    results = compare(
        "split-digits(setting='task')", {"packnet": "packnet(prune=0.75)"}, model="mlp(hidden=[64])", seeds=3,
        epochs=4, optimizer="adam", lr=0.005, weight_decay=0.001, quiet=True,
    )  # fmt: skip
    scores = results.scores["packnet"]
    for t in range(5):
        np.testing.assert_array_equal(scores[:, t:, t], scores[:, t : t + 1, t].repeat(5 - t, 1))
    assert scores[:, -1].mean() > 0.95


@pytest.mark.slow
def test_the_owners_are_avalanches():
    from perdure.strategies.interop.avalanche import load, quiet

    with quiet():
        pytest.importorskip("avalanche", reason="Avalanche, the oracle, is not installed")
        module = load("avalanche.models.packnet")
    layer = nn.Linear(9, 7)
    theirs = module.PackNetModel(nn.Sequential(layer))
    weight, free, generator = layer.weight, 3, torch.Generator().manual_seed(0)
    ours = torch.full_like(weight, free, dtype=torch.int32)
    for t in range(3):
        theirs.activate_task(t)
        ours = torch.where(ours == free, t, ours)
        with torch.no_grad():
            weight.copy_(torch.where(ours == t, torch.randn(7, 9, generator=generator), weight))
        theirs.prune(0.7)
        ours = torch.where(smallest(weight, ours == t, 0.7), free, ours)
        pruned = theirs.wrappee[0].pruned_mask
        assert torch.equal(pruned, ours == free)
        theirs.freeze_pruned()
        index = theirs.wrappee[0].task_index.to(torch.int32)
        assert torch.equal(torch.where(index == t + 1, free, index), ours)
