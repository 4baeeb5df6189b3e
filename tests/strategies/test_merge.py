"""The strategy that trains a model for each task and merges them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.strategies import Merge, StreamMerge, get
from perdure.strategies.merging import TIES, Average, TaskArithmetic
from perdure.strategies.merging.heads import owners, put_rows
from perdure.testing import tiny_model, tiny_norm, tiny_stream

TERMS = {"seeds": 2, "epochs": 2, "batch_size": 4, "lr": 0.05, "optimizer": "sgd", "quiet": True}
SHARED = ("1.weight", "1.bias")


def learn(stream, strategies, **changes):
    return compare(stream, strategies, keep=True, **{**TERMS, **changes})


def only(found, name):
    """Parameters and buffers, and the state, of all replicas: ``[seeds, ...]``."""
    replica = found.trained[name].replica
    return {**replica.buffers, **replica.params}, next(iter(replica.state.values()))


@pytest.mark.parametrize(
    "spec",
    [
        "merge(rule=dare)",
        "merge(rule=tall-masks, pretrain=1)",
        "stream-merge(rule=ties, start=previous, pretrain=1, pretrain_on=all)",
        "stream-merge(rule=opcm, start=merged)",
    ],
)
def test_it_keeps_the_contract(spec, level):
    check_strategy(get(spec), level=level)


@pytest.mark.parametrize("setting", ["domain", "task"])
def test_over_one_task_it_is_naive(setting):
    stream = tiny_stream(setting, (9,), 3)
    specs = ["merge", "stream-merge(rule=magmax)", "merge(start=previous)"]
    found = learn(stream, [*specs, "naive"], model=tiny_norm, optimizer="adam", dtype="float64")
    plain = only(found, "naive")[0]
    for spec in specs:
        np.testing.assert_array_equal(found.scores[spec], found.scores["naive"])
        for k, v in only(found, spec)[0].items():
            assert torch.allclose(v, plain[k], atol=1e-12), (spec, k)


def test_the_merged_model_is_what_models_that_were_trained_alone_merge_to():
    stream = tiny_stream("domain", tasks=3)
    found = learn(
        stream, {"merge": Merge(TIES(0.3)), "stream": StreamMerge(TIES(0.3)), "single": get("single")}
    )
    assert all(extras["mapped"] for extras in found.extras.values())
    merged, state = only(found, "merge")
    streamed, _ = only(found, "stream")
    bank = only(found, "single")[1]["bank"]
    for seed in range(2):
        base = {k: v[seed] for k, v in state["start"].items()}
        expected = TIES(0.3).merge(base, {k: bank[k][seed] for k in base})
        for k, v in expected.items():
            assert torch.allclose(merged[k][seed], v, atol=1e-6)
            assert torch.allclose(streamed[k][seed], v, atol=1e-6)
            assert not torch.allclose(base[k], v, atol=1e-3)


@pytest.mark.parametrize(
    ("rule", "start"), [("average", "base"), ("magmax", "previous"), ("task-arithmetic", "merged")]
)
def test_without_a_bank_the_model_is_the_same(rule, start):
    stream = tiny_stream("task", tasks=3)
    specs = [f"{name}(rule={rule}, start={start}, pretrain=1)" for name in ("merge", "stream-merge")]
    found = learn(stream, specs, dtype="float64")
    one, two = (only(found, spec)[0] for spec in specs)
    assert all(torch.allclose(one[k], two[k], atol=1e-12) for k in one)


def test_the_head_of_each_task_comes_from_its_own_model():
    stream = tiny_stream("task", tasks=3)
    found = learn(stream, ["merge(rule=task-arithmetic)", "single"], model=tiny_norm)
    merged, state = only(found, "merge(rule=task-arithmetic)")
    bank = only(found, "single")[1]["bank"]
    assert [merged[k].shape[1] for k in state["heads"]] == [6, 6]
    for k in state["heads"]:
        for t in range(3):
            rows = slice(2 * t, 2 * t + 2)
            assert torch.allclose(merged[k][:, rows], bank[k][:, t, rows], atol=1e-6)
    assert not {*state["heads"]} & {*state["memory"]}


def test_rows_of_outputs_that_tasks_share_are_merged_and_those_of_one_are_not():
    stream = tiny_stream("task", tasks=2)
    # Output 1 is of both tasks; 0 is the first's, 2 the second's.
    tasks = [
        replace(stream[0], outputs=(0, 1)),
        replace(stream[1], outputs=(1, 2)).map_parts(lambda part: replace(part, y=part.y - 1)),
    ]
    stream = replace(stream.with_tasks(tasks), outputs=3)
    assert owners(stream) == [0, -1, 1]
    found = learn(stream, ["merge", "single"], dtype="float64")
    merged, state = only(found, "merge")
    bank = only(found, "single")[1]["bank"]
    for k in state["mixed"]:
        expected = torch.stack([bank[k][:, 0, 0], bank[k][:, :, 1].mean(1), bank[k][:, 1, 2]], 1)
        assert torch.allclose(merged[k], expected, atol=1e-12)
    assert state["mixed"]


def test_who_owns_an_output():
    assert owners(tiny_stream("task", tasks=2)) == [0, 0, 1, 1]
    assert owners(tiny_stream("class", tasks=2)) == [0, 0, 1, 1]
    assert owners(tiny_stream("domain", tasks=1)) == [-1, -1]
    rows = put_rows(torch.ones(2, 3), torch.zeros(4, 2, 3), torch.tensor([True, False]))
    assert rows.shape == (4, 2, 3)
    assert rows[:, 0].eq(1).all()
    assert rows[:, 1].eq(0).all()


def test_statistics_of_norms_are_the_mean_of_the_models():
    stream = tiny_stream("domain", tasks=3)
    found = learn(stream, ["merge(rule=ties)", "single"], model=tiny_norm, dtype="float64")
    merged, state = only(found, "merge(rule=ties)")
    bank = only(found, "single")[1]["bank"]
    assert len(state["norms"]) == 2
    for k in state["norms"]:
        assert torch.allclose(merged[k], bank[k].mean(1), atol=1e-12)


class Towers(nn.Module):
    """A body and a tower for each task."""

    task_specific = ("towers.",)

    def __init__(self, shape, outputs):
        super().__init__()
        self.body = nn.Linear(5, 4)
        self.towers = nn.ModuleList(nn.Linear(4, outputs // 2) for _ in range(2))

    def forward(self, x, task):
        hidden = self.body(x).relu()
        return torch.cat([tower(hidden) for tower in self.towers], 1)


def test_towers_stay_those_of_their_task():
    stream = tiny_stream("task", tasks=2)
    found = learn(stream, ["merge", "single"], model=Towers)
    merged, state = only(found, "merge")
    bank = only(found, "single")[1]["bank"]
    assert {k.partition(".")[0] for k in state["memory"]} == {"body"}
    for k in state["own"]:
        assert torch.allclose(merged[k], bank[k][:, int(k.split(".")[1])], atol=1e-6)


def test_masks_answer_each_task_with_weights_of_its_own(walk):
    stream = tiny_stream("task", tasks=3)
    strategy = Merge("tall-masks(threshold=0.5)")
    for moment, phase, held, state, net in walk(strategy, stream, tiny_model):
        if moment == "end":
            params = {k: v for k, v in held.items() if k not in net.buffers}
            (state,) = state.values()
            x = torch.randn(6, 5, dtype=torch.float64)
            task = torch.tensor([0, 1, 2, 0, 1, 2])
            output = strategy.forward(net, params, state, x, task)
            for t in range(3):
                learned = t <= phase.tasks[0]
                each = {k: v[t] for k, v in state["each"].items()} if learned else {}
                expected = net({**params, **each}, x, task)[task == t]
                assert torch.equal(output[task == t], expected)
    assert all((v[0] != v[1]).any() for v in state["each"].values())


def test_pretraining_makes_the_common_start(walk):
    stream = tiny_stream("domain", tasks=2)
    moments = walk("merge(pretrain=2)", stream, tiny_model)
    held = {(m, p.name, p.tasks): (weights, next(iter(s.values()))) for m, p, weights, s, _ in moments}
    drawn = held["begin", "pretrain", (0,)][0]
    start, state = held["end", "pretrain", (0,)]
    assert all((start[k] != drawn[k]).any() for k in start)
    for t in range(2):
        begun, _ = held["begin", "learn", (t,)]
        assert all(torch.equal(begun[k], start[k]) for k in start)
    assert all(torch.equal(state["start"][k], start[k]) for k in start)


def test_tasks_start_where_start_says(walk):
    stream = tiny_stream("domain", tasks=2)
    for start in ("base", "previous", "merged"):
        moments = walk(Merge("task-arithmetic", start), stream, tiny_model)
        held = [
            (moment, phase.tasks[0], weights, next(iter(s.values())))
            for moment, phase, weights, s, _ in moments
        ]
        base, begun = held[0][2], held[4][2]
        merged = held[2][2]
        single = {k: base[k] + (v - base[k]) / 0.3 for k, v in merged.items()}
        expected = {"base": base, "previous": single, "merged": merged}[start]
        assert all(torch.allclose(begun[k], expected[k]) for k in base), start


def test_learners_of_a_stream_and_of_all_tasks_at_once():
    assert not get("merge(pretrain=1)").together
    assert get("merge(pretrain=1, pretrain_on=all)").together
    stream = tiny_stream("joint", tasks=2)
    assert [p.stage for p in Merge().phases(stream)] == [False, True]


def test_how_far_to_go_is_tuned_on_the_replica_axis():
    stream = tiny_stream("domain", tasks=2)
    tune = {"merge.scale": [0.0, 1.0]}
    found = learn(stream, {"merge": Merge()}, tune=tune, optimizer="adam")
    assert len(found.extras["merge"]["tried"]) == 2
    half = learn(stream, {"half": Merge(scale=0.5), "task": Merge("task-arithmetic(scale=0.25)")})
    one, two = only(half, "half")[0], only(half, "task")[0]
    assert all(torch.allclose(one[k], two[k], atol=1e-6) for k in one)


def test_merging_from_a_common_start_beats_chance():
    specs = ["merge(pretrain=2)", "stream-merge(rule=ties, pretrain=2)"]
    found = compare("split-digits(setting=task)", specs, model="mlp(hidden=[32])", seeds=2, quiet=True)
    for name, scores in found.scores.items():
        assert scores[:, -1].mean() > 0.7, name


@pytest.mark.parametrize(
    ("spec", "stream", "line"),
    [
        ("merge(rule=tall-masks)", tiny_stream("domain"), "needs the task setting; found domain"),
        ("merge", tiny_stream("task"), "merge needs parameters that tasks share; found none besides those"),
    ],
)
def test_what_cannot_be_merged_is_refused_before_any_work(spec, stream, line):
    model = (lambda shape, outputs: nn.Linear(shape[0], outputs)) if spec == "merge" else tiny_model
    with pytest.raises(PerdureError, match=line):
        compare(stream, [spec], model=model, **TERMS)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("merge(rule=tie)", "unknown merging rule 'tie'"),
        ("merge(start=last)", "start must be one of|start must be 'base', 'previous', 'merged' or 'own'"),
        ("merge(pretrain=-1)", "pretrain must be a whole number of at least 0; found -1"),
        ("stream-merge(rule=tall-masks)", "stream-merge takes a rule that adds one model after the other"),
    ],
)
def test_bad_settings_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        get(spec)


def test_a_name_and_an_object_are_the_same_rule():
    assert Merge("ties(density=0.5)") == Merge(TIES(0.5)) == get("merge(rule=ties(density=0.5))")
    assert str(Merge(TIES(0.5))) == "merge(rule=ties(density=0.5))"
    assert str(Merge(Average())) == "merge"
    assert Merge().inner == Average() != TaskArithmetic()
