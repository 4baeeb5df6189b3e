"""Multi-task architectures: what each computes, what is each task's own, and that they learn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.inspect import shared
from perdure.strategies import get
from perdure.testing import check_strategy, tiny_norm, tiny_stream

STREAM = tiny_stream("task", (10, 8, 9))


def deep(shape, outputs):
    return nn.Sequential(
        nn.Linear(5, 6),
        nn.Tanh(),
        nn.Linear(6, 4),
        nn.SiLU(),
        nn.Linear(4, 4),
        nn.Tanh(),
        nn.Linear(4, outputs),
    )


def made(spec, model=None, stream=STREAM):
    """The module that a strategy makes of a model, in double precision."""
    torch.manual_seed(0)
    model = deep((5,), stream.outputs) if model is None else model
    return get(spec).extend(model, stream).double().eval()


def head(module, features):
    """Outputs of features ``[tasks, n, h]``, one output after the other."""
    owners = [t for t, task in enumerate(STREAM) for _ in task.outputs]
    columns = [features[t] @ module.head.weight[o] + module.head.bias[o] for o, t in enumerate(owners)]
    return torch.stack(columns, 1)


def expert(bank, e, x):
    """What one expert of a bank makes of inputs, by itself."""
    own = {k: v[e] for k, v in bank.part.named_parameters()}
    return torch.func.functional_call(bank.part, own, (x,))


def rows(n=7):
    return torch.randn(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


SPECS = [
    "shared-bottom",
    "shared-bottom(towers=[3])",
    "mmoe",
    "mmoe(experts=2, towers=[4, 5])",
    "cgc(shared=2, own=2)",
    "ple",
    "ple(levels=3, shared=2, own=2, towers=[8])",
    "adatt",
    "adatt(levels=3, own=2, shared=2)",
    "dsmtl",
    "home",
    "home(groups=[[2], [0, 1]], own=2, shared=2, rank=2)",
    "learning-to-branch",
    "learning-to-branch(levels=3, nodes=2, search_epochs=2)",
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_contract(spec, level):
    check_strategy(get(spec), STREAM, model=deep, level=level)


@pytest.mark.parametrize("spec", SPECS)
def test_a_task_moves_nothing_that_is_anothers_and_all_that_is_shared(spec):
    module, x = made(spec).train(), rows()
    common = shared(module, dict(module.named_parameters()), STREAM.outputs)
    assert common
    with torch.no_grad():
        for name, p in module.named_parameters():
            # Feature gates start with a factor 0, which stops the gradient of the other.
            p.copy_(torch.rand_like(p) if name.endswith(".up") else p)
    for t, task in enumerate(STREAM):
        module.zero_grad()
        module(x)[:, list(task.outputs)].square().sum().backward()
        for name, p in module.named_parameters():
            moved = torch.zeros_like(p) if p.grad is None else p.grad
            if name in common:
                assert bool((moved != 0).any()), name
                continue
            # Tasks, outputs or experts of tasks lie on the first axis.
            each = len(p) // len(STREAM)
            at = list(range(t * each, (t + 1) * each))
            others = [i for i in range(len(p)) if i not in at]
            assert bool((moved[at] != 0).any()), name
            assert bool((moved[others] == 0).all()), name


@pytest.mark.parametrize("spec", [s for s in SPECS if "(" not in s or "cgc" in s])
def test_it_learns_each_task(spec):
    stream = tiny_stream("task", (30, 30, 30), seed=1)
    results = compare(
        stream, [spec], model=deep, seeds=3, epochs=12, batch_size=10, optimizer="adam", lr=0.03, quiet=True
    )
    (scores,) = results.scores.values()
    assert scores.shape == (3, 1, 3)
    assert scores[:, -1].mean() > 0.85


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("setting", ["domain", "class", "joint"])
def test_other_settings_are_refused(spec, setting):
    name = spec.partition("(")[0]
    with pytest.raises(PerdureError) as caught:
        get(spec).extend(deep((5,), 6), tiny_stream(setting))
    assert str(caught.value) == (
        f"{name} gives each task outputs of its own: give a stream with setting='task'; "
        f"found setting={setting!r}"
    )


def test_tasks_that_share_outputs_are_refused():
    tasks = [replace(STREAM[0], outputs=(0, 2)), *STREAM.tasks[1:]]
    with pytest.raises(PerdureError, match="output 2 belongs to 'task 0' and 'task 1'"):
        get("mmoe").extend(deep((5,), 6), replace(STREAM, tasks=tuple(tasks)))


def test_running_statistics_are_refused_where_experts_would_write_on_them():
    with pytest.raises(PerdureError, match="mmoe takes no running statistics"):
        get("mmoe").extend(tiny_norm((5,), 6), STREAM)
    check_strategy(get("shared-bottom"), STREAM, model=tiny_norm, level="quick")


def test_each_seed_draws_experts_of_its_own_and_alone_the_same():
    settings = {"model": deep, "batch_size": 4, "epochs": 2, "quiet": True, "lr": 0.1}
    many = compare(STREAM, ["mmoe"], seeds=[3, 4, 5], keep=True, **settings).trained["mmoe"]
    one = compare(STREAM, ["mmoe"], seeds=[4], keep=True, **settings).trained["mmoe"]
    for name, value in one.params(0).items():
        torch.testing.assert_close(value, many.params(1)[name])
    name = "experts.part.0.weight"
    assert not torch.equal(many.params(0)[name], many.params(1)[name])


# ---- shared-bottom --------------------------------------------------------------------------------------


def test_shared_bottom_is_the_model_as_it_is():
    model = deep((5,), 6)
    assert get("shared-bottom").extend(model, STREAM) is model


def test_shared_bottom_with_towers_by_a_loop():
    module, x = made("shared-bottom(towers=[3])"), rows()
    features, tower = module.trunk(x), module.head.towers[0]
    own = torch.stack([torch.relu(features @ tower.weight[t].T + tower.bias[t]) for t in range(3)])
    torch.testing.assert_close(module(x), head(module, own))


# ---- mmoe -----------------------------------------------------------------------------------------------


def test_mmoe_by_a_loop():
    module, x = made("mmoe(experts=3)"), rows()
    features = torch.zeros(3, 7, 4, dtype=torch.float64)
    for t in range(3):
        gate = torch.softmax(x @ module.gates.weight[t].T, -1)
        for e in range(3):
            features[t] += gate[:, e : e + 1] * expert(module.experts, e, x)
    torch.testing.assert_close(module(x), head(module, features))


def test_mmoe_of_one_expert_is_the_models_own_trunk():
    model = deep((5,), 6)
    module = get("mmoe(experts=1)").extend(model, STREAM).double()
    x = rows()
    features = model[:-1].double()(x)
    torch.testing.assert_close(module(x), head(module, features.expand(3, 7, 4)))


def test_the_order_of_experts_does_not_matter():
    module, x = made("mmoe"), rows()
    before, order = module(x), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        for p in module.experts.parameters():
            p.copy_(p[order])
        module.gates.weight.copy_(module.gates.weight[:, order])
    torch.testing.assert_close(module(x), before)


# ---- cgc and ple ----------------------------------------------------------------------------------------


def extraction(level, inputs, common, own, shared):
    """One level by a loop: what each task makes of its input, and what is shared."""
    made, everything = [], []
    theirs = [expert(level.shared, e, common) for e in range(shared)]
    for t in range(3):
        mine = [expert(level.own, t * own + e, inputs[t]) for e in range(own)]
        gate = torch.softmax(inputs[t] @ level.gates.weight[t].T, -1)
        made.append(sum(gate[:, e : e + 1] * v for e, v in enumerate([*mine, *theirs])))
        everything += mine
    if level.common is None:
        return made, None
    gate = torch.softmax(common @ level.common.weight[0].T, -1)
    return made, sum(gate[:, e : e + 1] * v for e, v in enumerate([*everything, *theirs]))


@pytest.mark.parametrize(
    ("spec", "own", "shared"),
    [("cgc(shared=2, own=3)", 3, 2), ("ple", 1, 1), ("ple(levels=3, shared=3, own=2)", 2, 3)],
)
def test_ple_by_a_loop(spec, own, shared):
    module, x = made(spec), rows()
    inputs, common = [x] * 3, x
    for level in module.levels:
        inputs, common = extraction(level, inputs, common, own, shared)
    torch.testing.assert_close(module(x), head(module, torch.stack(inputs)))


def test_cgc_is_ple_with_one_level_and_takes_models_that_are_no_sequence():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.head = nn.Linear(5, 4), nn.Linear(4, 6)

        def forward(self, x):
            return self.head(self.a(x).relu())

    cgc, ple = made("cgc", Model()), made("ple(levels=1)", Model())
    ple.load_state_dict(cgc.state_dict())
    torch.testing.assert_close(cgc(rows()), ple(rows()))
    with pytest.raises(PerdureError, match=r"ple fuses at 2 levels and needs an nn.Sequential; found Model"):
        made("ple", Model())


def test_convolutions_are_cut_into_blocks_too():
    model = nn.Sequential(
        nn.Unflatten(1, (1, 5)),
        nn.Conv1d(1, 2, 3),
        nn.ReLU(),
        nn.Conv1d(2, 3, 2),
        nn.Flatten(),
        nn.Linear(6, 6),
    )
    for spec in ("ple", "adatt"):
        module = made(spec, model)
        assert module.levels[1].gates.weight.shape[-1] == 6
        assert module(rows()).shape == (7, 6)


# ---- adatt ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "own", "shared"), [("adatt", 1, 0), ("adatt(levels=3, own=2, shared=2)", 2, 2)]
)
def test_adatt_by_a_loop(spec, own, shared):
    module, x = made(spec), rows()
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "kept" in name:
                p.copy_(torch.rand_like(p))
    units = [x] * 4
    for level in module.levels:
        experts = [expert(level.experts, t * own + e, units[t]) for t in range(3) for e in range(own)]
        experts += [expert(level.experts, 3 * own + e, units[3]) for e in range(shared)]
        new = []
        for t in range(4 if level.common is not None else 3):
            weight = level.gates.weight[t] if t < 3 else level.common.weight[0]
            gate = torch.softmax(units[t] @ weight.T, -1)
            mine = experts[t * own : (t + 1) * own] if t < 3 else experts[3 * own :]
            kept = level.kept[t] if t < 3 else level.kept_common[0]
            value = sum(gate[:, e : e + 1] * v for e, v in enumerate(experts))
            new.append(value + sum(k * v for k, v in zip(kept, mine, strict=True)))
        units = [*new, *units[len(new) :]]
    torch.testing.assert_close(module(x), head(module, torch.stack(units[:3])))


# ---- dsmtl ----------------------------------------------------------------------------------------------


def test_dsmtl_by_a_loop():
    module, x = made("dsmtl"), rows()
    with torch.no_grad():
        module.balance.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    private = torch.stack([expert(module.private, t, x) for t in range(3)])
    public = head(module, module.public(x).expand(3, 7, 4))
    own = private[[0, 0, 1, 1, 2, 2]] * module.private_head.weight.unsqueeze(1)
    share = torch.sigmoid(module.balance)[[0, 0, 1, 1, 2, 2]]
    expected = share * public + (1 - share) * (own.sum(-1).T + module.private_head.bias)
    torch.testing.assert_close(module(x), expected)


def test_a_task_of_dsmtl_that_turns_away_is_as_if_alone():
    module, x = made("dsmtl"), rows()
    with torch.no_grad():
        module.balance[1] = -1e4
    before = module(x)
    with torch.no_grad():
        for p in (*module.public.parameters(), *module.head.parameters()):
            p.add_(1.0)
    after = module(x)
    assert torch.equal(before[:, 2:4], after[:, 2:4])
    assert bool((before[:, :2] != after[:, :2]).all())


# ---- home -----------------------------------------------------------------------------------------------


def normed(experts, e, x):
    """An expert of HoME, by itself."""
    seen = x * 2 * torch.sigmoid(x @ experts.down[e].T @ experts.up[e].T)
    made = expert(experts.bank, e, seen)
    centred = made - made.mean(-1, keepdim=True)
    normal = centred / (made.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return nn.functional.silu(normal * experts.gain[e] + experts.shift[e])


def layer(part, inputs, common, own, shared):
    def mixed(x, gate, again, mine, others):
        def parts(logits):
            return torch.sigmoid(logits) if logits.shape[-1] == 1 else torch.softmax(logits, -1)

        gate, again = torch.softmax(x @ gate.T, -1), parts(x @ again.T)
        whole = sum(gate[:, e : e + 1] * v for e, v in enumerate([*mine, *others]))
        return whole + sum(again[:, e : e + 1] * v for e, v in enumerate(mine))

    theirs = [normed(part.shared, e, common) for e in range(shared)]
    mine = [[normed(part.own, u * own + e, x) for e in range(own)] for u, x in enumerate(inputs)]
    gates, again = part.gates.weight, part.self_gates.weight
    made = [mixed(x, gates[u], again[u], mine[u], theirs) for u, x in enumerate(inputs)]
    if part.common is None:
        return made, None
    everything = [v for some in mine for v in some]
    # The experts that are taken again, the shared ones, come last here.
    order = [*range(len(everything), len(everything) + shared), *range(len(everything))]
    gate = part.common.weight[0][order]
    return made, mixed(common, gate, part.self_common.weight[0], theirs, everything)


@pytest.mark.parametrize(
    ("spec", "group", "own", "shared"),
    [("home", (0, 0, 1), 1, 1), ("home(groups=[[2], [0, 1]], own=2, shared=3, rank=2)", (1, 1, 0), 2, 3)],
)
def test_home_by_a_loop(spec, group, own, shared):
    module, x = made(spec), rows()
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.rpartition(".")[2] in ("up", "gain", "shift"):
                p.copy_(torch.randn_like(p))
    groups, common = layer(module.meta, [x, x], x, own, shared)
    tasks, _ = layer(module.last, [groups[g] for g in group], common, own, shared)
    torch.testing.assert_close(module(x), head(module, torch.stack(tasks)))


def test_feature_gates_let_all_pass_at_first():
    experts, x = made("home").meta.shared, rows()
    plain = nn.functional.layer_norm(expert(experts.bank, 0, x), (4,))
    torch.testing.assert_close(experts(x.unsqueeze(0))[0], nn.functional.silu(plain))


@pytest.mark.parametrize("groups", ["[[0, 1]]", "[[0, 1], [1, 2]]", "[[0, 1, 2], []]", "[[0, 1, 3]]"])
def test_groups_hold_each_task_once(groups):
    with pytest.raises(PerdureError, match="groups must hold each of the 3 tasks once, by index; found"):
        made(f"home(groups={groups})")


# ---- learning to branch ---------------------------------------------------------------------------------


def test_a_branch_is_the_parent_of_the_largest_weight():
    module, x = made("learning-to-branch(levels=2, nodes=2)"), rows()
    with torch.no_grad():
        module.branches[0].copy_(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        module.branches[1].copy_(torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.5, 0.4]]))
    first = [expert(module.levels[0], i, x) for i in (1, 0)]
    second = [expert(module.levels[1], i, first[i]) for i in (0, 1)]
    expected = head(module, torch.stack([second[i] for i in (0, 1, 0)]))
    torch.testing.assert_close(module(x), expected)
    # Training takes the same once the tree is found, and mixes before.
    module.train()
    assert not torch.allclose(module(x), expected)
    module.searching.zero_()
    torch.testing.assert_close(module(x), expected)


def test_choices_are_drawn_as_often_as_their_weights_say():
    module = made("learning-to-branch(levels=1, nodes=3, temperature=0.01)").train()
    theta = torch.log(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)).expand(20_000, 3)
    torch.manual_seed(0)
    drawn = module.choices(theta)
    torch.testing.assert_close(drawn.sum(-1), torch.ones(20_000, dtype=torch.float64))
    shares = drawn.round().mean(0)
    torch.testing.assert_close(shares, theta[0].exp(), atol=0.015, rtol=0)


def test_the_tree_is_searched_then_trained_from_the_start(walk):
    moments = {}
    for moment, phase, values, _, net in walk("learning-to-branch", STREAM, deep):
        moments[phase.name, moment] = values
        assert net.buffers["searching"] == (phase.name == "search" or moment == "start")
    start, searched = moments["search", "start"], moments["search", "end"]
    begun, learned = moments["learn", "begin"], moments["learn", "end"]
    for name, value in start.items():
        theta = name.startswith("branches.")
        if name != "searching" and not name.startswith("head.owner"):
            assert not torch.equal(searched[name], value), name
            assert torch.equal(begun[name], searched[name] if theta else value), name
        if theta:
            assert torch.equal(learned[name], searched[name])
    assert not torch.equal(learned["levels.0.part.0.weight"], begun["levels.0.part.0.weight"])
