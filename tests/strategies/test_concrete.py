"""A mask that all task vectors share, learned without labels."""

from dataclasses import replace

import pytest
import torch

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch, weigh
from perdure.core.random import Rng
from perdure.strategies import Merge, get
from perdure.strategies.merging import Concrete
from perdure.strategies.merging.concrete import logits
from perdure.testing import tiny_model, tiny_stream


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=concrete(steps=2, adapt=task), pretrain=1)"), level=level)


def of(*moves):
    """A start of ones and the models that moved from it by so much."""
    moves = torch.tensor(moves, dtype=torch.float64)
    return {"w": torch.ones(moves.shape[1:], dtype=torch.float64)}, {"w": 1 + moves}


def test_by_hand():
    base, tasks = of([4.0, 0.0, 2.0], [0.0, 8.0, 2.0])
    odds = torch.tensor([1.0, 3.0, 1.0], dtype=torch.float64).log()  # masks 1/2, 3/4, 1/2: mean 7/12
    one = {"": torch.tensor([0.5, 0.25]).double(), "w": odds}
    expected = torch.tensor([2 * 6 / 7, 2 * 9 / 7, 1.5 * 6 / 7]).double()
    assert torch.allclose(Concrete().build(base, tasks, one)["w"] - 1, expected)
    each = {**one, "": one[""].unsqueeze(0)}
    assert torch.allclose(Concrete(adapt="layer").build(base, tasks, each)["w"] - 1, expected)
    # At 0 or 1, two of three entries are left: each counts for 3/2.
    values = {**one, "w": torch.tensor([-1.0, 0.0, 2.0]).double()}
    hard = Concrete(hard=True).conclude(None, {"values": values}, None, None)["values"]
    assert torch.allclose(Concrete().build(base, tasks, hard)["w"] - 1, torch.tensor([0, 3, 2.25]).double())


def test_a_drawn_mask_is_one_with_the_probability_that_its_logit_says():
    rule, zero = Concrete(temperature=0.01), torch.zeros((), dtype=torch.int64)
    values = {"": torch.ones(1), "w": torch.full((20_000,), 1.0)}
    drawn = rule.draw(values, rule.noise(values, Rng(zero, zero)))["w"].sigmoid()
    assert abs(drawn.mean() - torch.sigmoid(torch.tensor(1.0))) < 0.01
    assert ((drawn < 0.01) | (drawn > 0.99)).float().mean() > 0.95
    other = rule.noise(values, Rng(zero, zero + 1))["w"]
    assert not torch.equal(other, rule.noise(values, Rng(zero, zero))["w"])


@pytest.mark.parametrize("adapt", ["none", "layer"])
def test_both_levels_follow_adam_on_the_entropy_at_the_drawn_mask(walk, monkeypatch, adapt):
    def noise(self, values, rng):
        return {k: torch.linspace(-1, 1, v.numel()).view_as(v).double() for k, v in logits(values).items()}

    monkeypatch.setattr(Concrete, "noise", noise)
    stream, rule = tiny_stream("domain", tasks=2), Concrete(steps=3, lr=0.3, adapt=adapt, inner_lr=0.2)
    moments = [m for m in walk(Merge(rule), stream, tiny_model, batch=64) if m[1].name == "fit"]
    (_, phase, _, state, net), (_, _, after, end, _) = moments[-2:]
    (state,), (end,) = state.values(), end.values()
    x = torch.cat([stream[t].val.x for t in phase.tasks]).double()
    zero, weight = torch.zeros(len(x), dtype=torch.int64), torch.ones(len(x)).double()
    batch = Batch(weigh({"x": x, "y": zero, "task": zero}, weight), zero[0], Rng(zero[0], zero[0]))
    base = {k: state["start"][k] for k in state["memory"]}
    values = {k: v.requires_grad_() for k, v in rule.coefficients(base, 2).items()}
    outer = torch.optim.Adam(logits(values).values(), lr=0.3)
    inner = torch.optim.Adam([values[""]], lr=0.2)
    for _ in range(3):
        for optimizer in (inner, outer) if adapt == "layer" else (outer,):
            optimizer.zero_grad()
            drawn = rule.draw(values, noise(rule, values, None))
            rule.loss(net.eval(), rule.build(base, state["memory"], drawn), batch).backward()
            optimizer.step()
    for k, v in values.items():
        assert torch.allclose(end["fit"]["values"][k], v, atol=1e-9), k
    for k, v in rule.build(base, state["memory"], values).items():
        assert torch.allclose(after[k], v, atol=1e-9), k


def test_it_makes_the_answers_surer_and_draws_the_same_alone_and_among_others():
    stream = tiny_stream("domain", tasks=2)
    terms = {"epochs": 2, "batch_size": 4, "quiet": True, "keep": True, "model": tiny_model, "lr": 0.05}
    specs = {"start": "merge(rule=concrete(steps=1, lr=1e-9))", "far": "merge(rule=concrete(steps=60))"}
    found = compare(stream, specs, seeds=2, **terms)
    x, each = stream[0].val.x, []
    for name in specs:
        logs = found.trained[name].predict(x).log_softmax(-1)
        each.append(-(logs.exp() * logs).sum(-1).mean())
    assert each[1] < each[0] - 0.01
    other = stream.with_tasks([replace(t, val=replace(t.val, y=1 - t.val.y)) for t in stream])
    alone = compare(other, {"far": specs["far"]}, seeds=[1], **terms).trained["far"].params()
    for k, v in found.trained["far"].params(1).items():
        assert torch.allclose(v, alone[k], atol=1e-5), k


def test_bad_numbers_and_labels_that_are_no_classes_are_refused():
    for spec, line in (
        ("temperature=0", "temperature must be positive"),
        ("inner_lr=0", "inner_lr must be p"),
    ):
        with pytest.raises(PerdureError, match=line):
            get(f"merge(rule=concrete({spec}))")
    with pytest.raises(PerdureError, match="the merging rule concrete needs labels that are classes"):
        compare(tiny_stream(kind="real"), ["merge(rule=concrete)"], seeds=1, epochs=1, quiet=True)
