"""Merging rules whose coefficients are learned after each task."""

from dataclasses import replace

import pytest
import torch

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch, weigh
from perdure.core.random import Rng
from perdure.scenarios.contract.world import World
from perdure.strategies import Merge, get
from perdure.strategies.merging import AdaMerging, Atlas
from perdure.testing import tiny_model, tiny_norm, tiny_stream

RULES = {
    "adamerging": AdaMerging(steps=5, lr=0.05),
    "adamerging by task": AdaMerging(steps=5, lr=0.05, by="task", part="train"),
    "atlas": Atlas(steps=5, lr=0.05),
}


@pytest.mark.parametrize("rule", ["adamerging(steps=2)", "atlas(steps=2)"])
def test_it_keeps_the_contract(rule, level):
    check_strategy(get(f"merge(rule={rule}, pretrain=1)"), level=level)


def whole(stream, tasks, part):
    """All samples of a part of some tasks as one batch."""
    parts = [getattr(stream[t], part) for t in tasks]
    task = torch.cat([torch.full((len(p),), t) for t, p in zip(tasks, parts, strict=True)])
    x, y = torch.cat([p.x for p in parts]).double(), torch.cat([p.y for p in parts])
    zero = torch.zeros((), dtype=torch.int64)
    return Batch(weigh({"x": x, "y": y, "task": task}, torch.ones(len(y)).double()), zero, Rng(zero, zero))


def trace(walk, rule, stream, model=tiny_norm):
    """What stands where each fit begins and ends."""
    moments = walk(Merge(rule, scale=0.9), stream, model, batch=64)
    return [
        (moment, phase, held, next(iter(state.values())), net)
        for moment, phase, held, state, net in moments
        if phase.name == "fit" and moment != "start"
    ]


@pytest.mark.parametrize("setting", ["domain", "task"])
@pytest.mark.parametrize("name", RULES)
def test_coefficients_follow_adam_on_the_loss_of_the_merged_model(walk, name, setting):
    rule, stream = RULES[name], tiny_stream(setting, tasks=2)
    seen = trace(walk, rule, stream)
    assert len(seen) == 4
    for begin, end in (seen[:2], seen[2:]):
        _, phase, held, state, net = begin
        batch = whole(stream, phase.tasks, rule.part)
        bank = state["memory"]
        base = {k: state["start"][k] for k in bank}
        params = {k: v for k, v in held.items() if k not in net.buffers}
        values = {k: v.requires_grad_() for k, v in rule.coefficients(base, 2).items()}

        def merged(values, base=base, bank=bank, params=params):
            far = rule.build(base, bank, values)
            return {**params, **{k: b + 0.9 * (far[k] - b) for k, b in base.items()}}

        adam = torch.optim.Adam(values.values(), lr=rule.lr)
        first = rule.loss(net.eval(), merged(values), batch).item()
        for _ in range(rule.steps):
            adam.zero_grad()
            rule.loss(net.eval(), merged(values), batch).backward()
            adam.step()
        last = rule.loss(net.eval(), merged(values), batch).item()
        _, _, after, state, net = end
        for k, v in values.items():
            assert torch.allclose(state["fit"]["values"][k], v, atol=1e-9), k
        for k, v in merged(values).items():
            assert torch.allclose(after[k], v, atol=1e-9), k
        for k, v in bank.items():
            assert torch.equal(state["memory"][k], v)
        assert all(torch.equal(after[k], state["norms"][k]) for k in state["norms"])
        assert last < first


def test_no_label_is_read_where_none_is_needed():
    stream = tiny_stream("domain", tasks=2)
    other = stream.with_tasks([replace(t, val=replace(t.val, y=1 - t.val.y)) for t in stream])
    terms = {"seeds": 1, "epochs": 1, "batch_size": 4, "quiet": True, "keep": True, "model": tiny_model}
    specs = {"ada": "merge(rule=adamerging(steps=3))", "atlas": "merge(rule=atlas(steps=3))"}
    one, two = (compare(s, specs, **terms).trained for s in (stream, other))
    for name in specs:
        pairs = zip(one[name].params().values(), two[name].params().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == (name == "ada")


def test_what_a_rule_cannot_learn_on_is_refused():
    line = "the merging rule adamerging needs labels that are classes"
    with pytest.raises(PerdureError, match=line):
        compare(tiny_stream(kind="real"), ["merge(rule=adamerging)"], seeds=1, epochs=1, quiet=True)
    world = replace(tiny_stream()[0], val=World(1, 1, 1, 1))
    with pytest.raises(PerdureError, match="expected a part of samples; found the world World"):
        Atlas().check([world])


def test_learning_from_all_tasks_at_once_is_told():
    assert get("merge(rule=atlas)").together
    assert not get("merge(rule=ties)").together
