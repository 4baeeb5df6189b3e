"""A mask that all task vectors share, learned against perturbations of the inputs."""

import pytest
import torch

from perdure import PerdureError, check_strategy, compare
from perdure.core.batch import Batch, weigh
from perdure.core.random import Rng
from perdure.strategies import Merge, get
from perdure.strategies.merging import DAM, Concrete
from perdure.strategies.merging.concrete import logits
from perdure.strategies.merging.dam import shares, shifted
from perdure.testing import tiny_model, tiny_stream

TERMS = {
    "seeds": 2,
    "epochs": 2,
    "batch_size": 4,
    "lr": 0.05,
    "quiet": True,
    "keep": True,
    "model": tiny_model,
}


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=dam(steps=2, adapt=task))"), level=level)


def test_by_hand():
    x, task = torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.tensor([1, 0, 1])
    assert shifted(x, task, torch.tensor([[10.0, 0], [0, 1]])).tolist() == [[1, 3], [13, 4], [5, 7]]
    hits = torch.tensor([True, True, False])
    assert shares(hits, task, torch.zeros(3)).tolist() == [1, 0.5, 0]


def test_the_three_moves_follow_adam(walk, monkeypatch):
    def noise(self, values, rng):
        return {k: torch.linspace(-1, 1, v.numel()).view_as(v).double() for k, v in logits(values).items()}

    monkeypatch.setattr(Concrete, "noise", noise)
    stream = tiny_stream("domain", tasks=2)
    rule = DAM(steps=3, lr=0.3, adapt="task", inner_lr=0.2, weight=0.7, attack_lr=0.5)
    moments = [m for m in walk(Merge(rule), stream, tiny_model, batch=64) if m[1].name == "fit"]
    (_, phase, _, state, net), (_, _, after, end, _) = moments[-2:]
    (state,), (end,) = state.values(), end.values()
    x = torch.cat([stream[t].val.x for t in phase.tasks]).double()
    task = torch.cat([torch.full((len(stream[t].val.x),), t) for t in phase.tasks])
    zero, weight = torch.zeros((), dtype=torch.int64), torch.ones(len(x)).double()
    batch = Batch(weigh({"x": x, "y": task, "task": task}, weight), zero, Rng(zero, zero))
    base = {k: state["start"][k] for k in state["memory"]}
    values = {k: v.requires_grad_() for k, v in rule.coefficients(base, 2).items()}
    shift = torch.zeros(2, *x.shape[1:], dtype=torch.float64, requires_grad=True)
    inner, attack = torch.optim.Adam([values[""]], lr=0.2), torch.optim.Adam([shift], lr=0.5)
    outer = torch.optim.Adam(logits(values).values(), lr=0.3)
    net = net.eval()

    def merged():
        return rule.build(base, state["memory"], rule.draw(values, noise(rule, values, None)))

    def step(optimizer, loss):
        for one in (inner, attack, outer):
            one.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step(inner, rule.loss(net, merged(), batch))
        answers = net(merged(), x, task).argmax(-1)
        step(attack, -torch.nn.functional.cross_entropy(net(merged(), x + shift[task], task), answers))
        turned = batch.with_rows(x=(x + shift[task]).detach())
        step(outer, rule.loss(net, merged(), batch) + 0.7 * rule.loss(net, merged(), turned))
    for k, v in values.items():
        assert torch.allclose(end["fit"]["values"][k], v, atol=1e-9), k
    assert torch.allclose(end["fit"]["shift"], shift, atol=1e-9)
    flips = net(after, x, task).argmax(-1) != net(after, x + shift[task], task).argmax(-1)
    expected = [flips[task == t].double().mean().item() for t in range(2)]
    assert rule.report(end["fit"])["attack_success"].tolist() == expected
    assert max(expected) > 0


def test_without_weight_it_is_concrete_and_tells_what_attacks_do():
    stream = tiny_stream("domain", tasks=2)
    specs = {
        "concrete": "merge(rule=concrete(steps=6))",
        "none": "merge(rule=dam(steps=6, weight=0))",
        "far": "merge(rule=dam(steps=6, weight=0, attack_lr=50))",
    }
    found = compare(stream, specs, **TERMS)
    for k, v in found.trained["concrete"].params().items():
        assert torch.allclose(v, found.trained["none"].params()[k], atol=1e-6), k
    told = {k: torch.tensor(found.extras[k]["report"]["merge"]["attack_success"]) for k in ("none", "far")}
    assert told["far"].shape == (2, 2)
    assert told["far"].mean() > told["none"].mean()


def test_bad_numbers_and_inputs_that_are_no_numbers_are_refused():
    for spec, line in (
        ("weight=-1", "weight must .*found -1"),
        ("attack_lr=0", "attack_lr must be positive"),
    ):
        with pytest.raises(PerdureError, match=line):
            get(f"merge(rule=dam({spec}))")
    with pytest.raises(
        PerdureError, match=r"dam perturbs inputs, which must be floating point; found torch\.int64"
    ):
        DAM().check(tiny_stream(kind="tokens"))
