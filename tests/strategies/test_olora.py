"""O-LoRA."""

import pytest
import torch

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.models.adapters import lowrank
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification
from perdure.strategies import OLoRA, get
from perdure.strategies.adapters.lora import ADAPT
from perdure.testing import tiny_model, tiny_stream

DOWN, UP = (lowrank.key("1", part) for part in ("down", "up"))


def penalty(strategy, down, up=None, current=1, phase=ADAPT):
    """What the strategy adds to a loss of 0 of a tiny_model with 5 inputs."""
    module = strategy.extend(tiny_model((5,), 6).double(), tiny_stream("class"))
    net = Net(module, dict(module.named_buffers()), None, Classification())
    params = {k: v.detach().clone() for k, v in module.named_parameters()}
    params[DOWN][:, :, : down.shape[2]], params[DOWN][:, :, down.shape[2] :] = down, 0.0
    if up is not None:
        params[UP][:] = up
    zero = torch.tensor(0)
    x = torch.zeros(2, 5, dtype=torch.float64)
    batch = Batch(
        {"x": x, "y": zero, "task": zero, "weight": x[:, 0]}, torch.tensor(current), Rng(zero, zero), phase
    )

    def total(params):
        return strategy.losses(net, params, {}, batch, torch.zeros(1, dtype=torch.float64)).sum()

    return torch.func.grad_and_value(total)(params)


def test_the_penalty_by_hand():
    # Three adapters of rank 2 that read the first two inputs.
    down = torch.tensor([[[1.0, 0], [0, 1]], [[1, 2], [-3, 4]], [[1, 1], [0, -2]]], dtype=torch.float64)
    strategy = OLoRA(rank=2, strength=0.5, warm=False)
    # Task 0 has none before it. For task 1, A_0 A_1^T = [[1, -3], [2, 4]]: 10.
    assert [penalty(strategy, down, current=t)[1].item() for t in (0, 1)] == [0.0, 5.0]
    # For task 2, A_0 A_2^T = [[1, 0], [1, -2]]: 4, and A_1 A_2^T = [[3, -4], [1, -8]]: 16.
    assert penalty(strategy, down, current=2)[1].item() == 10.0
    # With warm, task 0 has no adapter.
    assert [penalty(OLoRA(rank=2), down, current=t)[1].item() for t in (0, 1, 2)] == [0.0, 0.0, 8.0]
    squares = penalty(OLoRA(rank=2, strength=0.5, warm=False, squared=True), down, current=2)[1]
    assert squares.item() == 0.5 * (1 + 1 + 4 + 9 + 16 + 1 + 64)
    assert penalty(OLoRA(rank=2, warm=False), down, current=2, phase="learn")[1].item() == 0.0


def test_the_norms_by_hand():
    down = torch.zeros(3, 2, 2, dtype=torch.float64)
    down[1] = torch.tensor([[3.0, 0], [0, 4]])
    up = torch.zeros(3, 6, 2, dtype=torch.float64)
    up[1, 0] = torch.tensor([5.0, 12.0])
    strategy = OLoRA(rank=2, strength=0.0, decay=0.1)
    assert penalty(strategy, down, up)[1].item() == pytest.approx(0.1 * (5 + 13))
    slopes, _ = penalty(strategy, down, torch.zeros_like(up))
    assert all(v.isfinite().all() for v in slopes.values())


def test_only_the_new_adapter_feels_the_penalty():
    torch.manual_seed(0)
    slopes, _ = penalty(OLoRA(rank=2, warm=False), torch.randn(3, 2, 2, dtype=torch.float64), current=1)
    assert slopes[DOWN][1, :, :2].any()
    assert not slopes[DOWN][0].any()
    assert not slopes[DOWN][2].any()


@pytest.mark.parametrize("optimizer", [AdamW(), SGD(momentum=0.9)])
@pytest.mark.parametrize("warm", [True, False])
def test_other_tasks_adapters_stay_to_the_bit(optimizer, warm, walk):
    stream, start, ends = tiny_stream("task", (9, 12, 7, 6)), None, {}
    for moment, phase, tensors, *_ in walk(OLoRA(warm=warm), stream, tiny_model, optimizer=optimizer):
        task = phase.tasks[0]
        start = tensors if start is None else start
        if moment != "end":
            continue
        ends[task] = tensors
        for t in range(4):
            since = ends[t] if t in ends and not (warm and t == 0) else start
            for name in (DOWN, UP):
                assert torch.equal(tensors[name][t], since[name][t])
        if not (warm and task == 0):
            assert all((tensors[name][task] != start[name][task]).any() for name in (DOWN, UP))
            assert torch.equal(tensors[lowrank.key("1", "base")], ends[0][lowrank.key("1", "base")])


def overlap(strategy, walk, moment="end"):
    """Overlap of each task's projection with those before it, after each task."""
    found = []
    for when, phase, tensors, *_ in walk(
        strategy, tiny_stream("task", (9, 12, 7)), tiny_model, lr=0.03, decay=0.0, epochs=12
    ):
        if when == moment:
            found.append(strategy.overlap(tensors[DOWN], torch.tensor(phase.tasks[0])).item())
    return found


def test_orthogonality_falls_in_training_and_a_huge_strength_makes_it_nought(walk):
    start = overlap(OLoRA(rank=1, warm=False), walk, "begin")
    free, some, much = (overlap(OLoRA(rank=1, warm=False, strength=s), walk) for s in (0.0, 0.5, 1e3))
    assert start[0] == free[0] == some[0] == 0.0
    assert all(s < 0.3 * f for s, f in zip(some[1:], free[1:], strict=True))
    assert all(s < f for s, f in zip(some[1:], start[1:], strict=True))
    assert max(much) < 0.05


def test_it_composes_with_replay():
    terms = {"model": "mlp(hidden=[16])", "seeds": 3, "epochs": 2, "quiet": True}
    results = compare("split-digits | take(3)", ["o-lora", "o-lora + replay(100)"], **terms)
    kept = [results.metric("average_accuracy", name) for name in results.strategies]
    assert (kept[1] > kept[0]).all()


def test_the_strength_matters_from_the_second_adapter_on(walk):
    ends = [
        [t[DOWN] for moment, _, t, *_ in walk(OLoRA(strength=s), tiny_stream("task", (9, 12, 7)), tiny_model)]
        for s in (0.0, 50.0)
    ]
    same = [torch.equal(a, b) for a, b in zip(*ends, strict=True)]
    assert same == [True] * 8 + [False]


@pytest.mark.parametrize("terms", ["strength=-1", "decay=-0.5"])
def test_bad_settings_are_one_line(terms):
    with pytest.raises(PerdureError, match="must be at least 0; found -") as caught:
        get(f"o-lora({terms})")
    assert "\n" not in str(caught.value)
    with pytest.raises(PerdureError, match="fresh"):
        get("o-lora(fresh=True)")
