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
        nn.ReLU(),
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


SPECS = ["shared-bottom", "shared-bottom(towers=[3])", "mmoe", "mmoe(experts=2, towers=[4, 5])"]


@pytest.mark.parametrize("spec", SPECS)
def test_the_contract(spec, level):
    check_strategy(get(spec), STREAM, model=deep, level=level)


@pytest.mark.parametrize("spec", SPECS)
def test_a_task_moves_nothing_that_is_anothers_and_all_that_is_shared(spec):
    module, x = made(spec), rows()
    common = shared(module, dict(module.named_parameters()), STREAM.outputs)
    assert common
    for t, task in enumerate(STREAM):
        module.zero_grad()
        module(x)[:, list(task.outputs)].square().sum().backward()
        for name, p in module.named_parameters():
            moved = torch.zeros_like(p) if p.grad is None else p.grad
            if name in common:
                assert bool((moved != 0).any()), name
                continue
            # Tasks, or outputs of tasks, lie on the first axis.
            at = list(task.outputs) if len(p) == STREAM.outputs else [t]
            others = [i for i in range(len(p)) if i not in at]
            assert bool((moved[at] != 0).any()), name
            assert bool((moved[others] == 0).all()), name


@pytest.mark.parametrize("spec", SPECS)
def test_it_learns_each_task(spec):
    stream = tiny_stream("task", (30, 30), seed=4)
    results = compare(
        stream, [spec], model=deep, seeds=3, epochs=12, batch_size=10, optimizer="adam", lr=0.03, quiet=True
    )
    (scores,) = results.scores.values()
    assert scores.shape == (3, 1, 2)
    assert scores[:, -1].mean() > 0.9


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
