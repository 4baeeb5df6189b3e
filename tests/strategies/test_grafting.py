"""Grafting: sparse masks that are learned task by task, and stitched."""

import pytest
import torch

from perdure import PerdureError, check_strategy
from perdure.core.batch import Batch, weigh
from perdure.core.random import Rng
from perdure.strategies import Merge, get
from perdure.strategies.merging import MERGING, Grafting
from perdure.testing import tiny_norm, tiny_stream


def test_it_keeps_the_contract(level):
    check_strategy(get("merge(rule=grafting(steps=2))"), level=level)


def test_entries_that_several_tasks_keep_are_averaged():
    moves = torch.tensor([[4.0, -3.0, 1.0, 0.0], [2.0, 1.0, -5.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    base, tasks = {"w": torch.ones(4)}, {"w": 1 + moves}
    assert (Grafting(density=0.5).merge(base, tasks)["w"] - 1).tolist() == [3.0, -3.0, -5.0, 0.0]


def samples(part, t):
    """All samples of a part as one batch of a task."""
    x, y, task = part.x.double(), part.y, torch.full((len(part),), t)
    zero = torch.zeros((), dtype=torch.int64)
    return Batch(weigh({"x": x, "y": y, "task": task}, torch.ones(len(y)).double()), zero, Rng(zero, zero))


@pytest.mark.parametrize("setting", ["domain", "task"])
def test_masks_follow_adam_on_the_loss_of_each_tasks_graft(walk, setting):
    rule, stream = Grafting(density=0.3, bias=0.2, steps=4, lr=0.05), tiny_stream(setting, tasks=2)
    moments = [m for m in walk(Merge(rule), stream, tiny_norm, batch=64) if m[1].name == "fit"]
    (_, _, held, state, net), (_, _, after, end, _) = moments[-2:]
    (state,), (end,) = state.values(), end.values()
    base = {k: state["start"][k] for k in state["memory"]}
    own = {k: v - base[k] for k, v in state["memory"].items()}
    rest = {k: v for k, v in held.items() if k not in net.buffers and k not in base} | state["heads"]
    signs = []
    for t, task in enumerate(stream):
        vector = {k: v[t] for k, v in own.items()}
        least = torch.cat([v.abs().flatten() for v in vector.values()])
        least = least.sort(descending=True).values[int(0.3 * len(least)) - 1] * (1 - 1e-6)
        scores = {k: torch.where(v.abs() >= least, 0.2, -0.2).double() for k, v in vector.items()}
        scores = {k: v.requires_grad_() for k, v in scores.items()}
        first, adam = {k: v.detach() > 0 for k, v in scores.items()}, torch.optim.Adam(scores.values(), 0.05)
        for _ in range(4):
            adam.zero_grad()
            graft = {k: b + scores[k].sigmoid() * vector[k] for k, b in base.items()}
            loss = net.eval().losses({**rest, **graft}, samples(task.val, t)).sum()
            (loss + torch.cat([v.sigmoid().flatten() for v in scores.values()]).mean()).backward()
            adam.step()
        signs.append({k: v.detach() > 0 for k, v in scores.items()})
        assert any((first[k] != v).any() for k, v in signs[-1].items())
    for k, b in base.items():
        masks = torch.stack([s[k] for s in signs]).double()
        mean = (masks * own[k]).sum(0) / masks.sum(0).clamp(min=1)
        assert torch.allclose(after[k], b + mean), k
    share = [torch.cat([v.flatten() for v in s.values()]).double().mean() for s in signs]
    assert torch.allclose(rule.report(end["fit"])["kept"], torch.stack(share))


def test_a_penalty_that_outweighs_all_leaves_the_start(walk):
    rule, stream = Grafting(strength=1e9, bias=0.1, steps=5), tiny_stream("domain", tasks=2)
    *_, (_, _, after, state, _) = walk(Merge(rule), stream, tiny_norm)
    (state,) = state.values()
    assert all(torch.equal(after[k], state["start"][k]) for k in state["memory"])


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("grafting(density=0)", r"density must lie in \(0, 1\]; found 0"),
        ("grafting(bias=0)", "bias must be positive; found 0"),
        ("grafting(strength=-1)", "strength must be at least 0; found -1"),
        ("grafting(part=test)", "part must be 'val' or 'train'; found 'test'"),
    ],
)
def test_bad_numbers_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        MERGING.get(spec)
