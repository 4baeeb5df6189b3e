"""InfLoRA."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification, from_arrays
from perdure.strategies import InfLoRA, get
from perdure.strategies.adapters.inflora import _rows, added, covariances, design
from perdure.strategies.adapters.lora import ADAPT
from perdure.testing import tiny_model, tiny_stream

DOWN, UP, BASE = (lowrank.key("1", part) for part in ("down", "up", "base"))


def deep(shape, outputs):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, outputs)
    )


def subspaces():
    """Three tasks of 12 inputs, each in a subspace of dimension 4, oblique to the others'.

    Halves are exact in any type, so that the inputs lie in the subspace to the bit.
    """
    draw = np.random.default_rng(0)
    tasks = []
    for t in range(3):
        basis = draw.integers(-1, 2, size=(4, 12)) / 2
        x = draw.integers(-2, 3, size=(40, 4)) @ basis
        y = (x @ draw.normal(size=12) > 0).astype(np.int64) + 2 * t
        tasks.append(((x[:30], y[:30]), (x[30:], y[30:])))
    return from_arrays(tasks, setting="task")


# ---- the design ---------------------------------------------------------------------------------------


def test_the_projection_by_hand():
    covariance, none = torch.diag(torch.tensor([9.0, 4.0, 1.0])).double(), torch.zeros(3, 3).double()
    eye = torch.eye(3).double()
    torch.testing.assert_close(design(covariance, none, 2), eye[:2])
    torch.testing.assert_close(design(covariance, torch.diag(eye[0]), 2), eye[1:])
    # Where nothing is left, rows are 0.
    torch.testing.assert_close(
        design(covariance, torch.diag(eye[0]), 3), torch.stack([eye[1], eye[2], 0 * eye[0]])
    )
    torch.testing.assert_close(design(torch.diag(eye[0]), none, 2), torch.stack([eye[0], 0 * eye[0]]))
    assert not design(torch.full((3, 3), torch.nan).double(), none, 2).any()


@pytest.mark.parametrize(
    ("share", "before", "after"),
    [
        (0.6, [], [0]),  # 9 of 14
        (0.65, [], [0, 1]),
        (0.9, [], [0, 1]),  # 13 of 14
        (1.0, [], [0, 1, 2]),
        (0.6, [0], [0]),
        (0.9, [0], [0, 1]),
        (0.9, [2], [0, 1, 2]),  # 1 of 14 is held already; 10 are not enough
        (0.7, [2], [0, 2]),
    ],
)
def test_the_old_space_grows_by_hand(share, before, after):
    covariance, eye = torch.diag(torch.tensor([9.0, 4.0, 1.0])).double(), torch.eye(3).double()
    old = torch.diag(eye[before].sum(0))
    torch.testing.assert_close(old + added(covariance, old, share), torch.diag(eye[after].sum(0)))


def dual(basis, inputs, share):
    """DualGPM as the paper describes it: the smaller of the old space and its complement is stored."""
    kind, m = basis
    total = (inputs**2).sum()
    inside = m @ m.T @ inputs
    u, s, _ = np.linalg.svd(inputs - inside if kind == "old" else inside, full_matrices=True)
    energy = np.concatenate([s**2, np.zeros(len(u) - len(s))])
    held = total - energy.sum()
    count = 0
    while held < share * total and count < len(s):
        held, count = held + energy[count], count + 1
    if kind == "old":
        m = np.hstack([m, u[:, :count]])
    else:
        left, _, _ = np.linalg.svd(m - u[:, :count] @ u[:, :count].T @ m)
        m = left[:, : m.shape[1] - count]
    if kind == "old" and m.shape[1] > len(m) / 2:
        return "free", np.linalg.svd(m)[0][:, m.shape[1] :]
    return kind, m


def test_the_projector_is_that_of_dual_gradient_projection_memory():
    draw, old, basis = np.random.default_rng(1), torch.zeros(10, 10).double(), ("old", np.zeros((10, 0)))
    kinds, sizes = [], []
    for share in (0.8, 0.9, 0.95, 0.99):
        inputs = draw.normal(size=(10, 3)) @ draw.normal(size=(3, 40)) + 0.05 * draw.normal(size=(10, 40))
        basis = dual(basis, inputs, share)
        x = torch.tensor(inputs)
        old = old + added(x @ x.T, old, share)
        projector = basis[1] @ basis[1].T
        projector = projector if basis[0] == "old" else np.eye(10) - projector
        np.testing.assert_allclose(old, projector, atol=1e-10)
        kinds.append(basis[0])
        sizes.append(round(old.trace().item()))
    assert kinds[0] == "old"
    assert kinds[-1] == "free"
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] < 10


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(4, 3, bias=False),
        nn.Conv2d(4, 6, 3, bias=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 6, (3, 2), padding="same", dilation=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=False),
    ],
    ids=str,
)
def test_the_inputs_are_what_the_weight_is_multiplied_with(layer):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, 6) if isinstance(layer, nn.Conv2d) else torch.randn(2, 5, 4)
    out = layer(x)
    want = out.flatten(2).mT.reshape(-1, 6) if isinstance(layer, nn.Conv2d) else out.reshape(-1, 3)
    torch.testing.assert_close(_rows(layer, x) @ layer.weight.flatten(1).T, want)


def test_the_inputs_of_a_grouped_convolution_are_those_of_all_groups():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5)
    alone = nn.Conv2d(2, 3, 3)
    want = torch.cat([_rows(alone, x[:, :2]), _rows(alone, x[:, 2:])])
    rows = _rows(layer, x)
    torch.testing.assert_close(rows.T @ rows, want.T @ want)


def test_covariances_of_the_whole_data_are_those_of_its_chunks():
    torch.manual_seed(0)
    module = InfLoRA().extend(tiny_model((5,), 2).double(), tiny_stream())
    net = Net(module, dict(module.named_buffers()), None, Classification())
    params = {k: v.detach() for k, v in module.named_parameters()}
    x = torch.randn(600, 5).double()
    found = covariances(net, params, x, torch.zeros(600, dtype=torch.int64))
    torch.testing.assert_close(found, {"1": x.T @ x})
    assert not module[1]._forward_hooks


# ---- what it promises ---------------------------------------------------------------------------------


def projector(rows):
    return rows.mT @ rows


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-11), ("float32", 1e-5)])
@pytest.mark.parametrize("warm", [True, False])
def test_what_earlier_tasks_gave_stays(dtype, close, warm, walk):
    # With all energy protected, and heads of their own, whose gradient is 0 in other tasks.
    strategy, stream, kept = InfLoRA(rank=3, energy=1.0, warm=warm), subspaces(), {}
    for moment, phase, tensors, state, net in walk(
        strategy, stream, deep, optimizer=SGD(momentum=0.9), lr=0.05, decay=0.0, epochs=10, dtype=dtype
    ):
        task = phase.tasks[0]
        if moment == "begin" and phase.name == ADAPT:
            down = tensors[DOWN][task]
            torch.testing.assert_close(down @ down.T, torch.eye(3, dtype=down.dtype), rtol=0, atol=close)
            # The principal directions of the inputs outside the old space, but for their sign.
            free = torch.eye(12).double() - state["inflora"]["old"]["1"]
            outside = stream[task].train.inputs().double() @ free
            right = torch.linalg.svd(outside).Vh[:3]
            torch.testing.assert_close(projector(down).double(), projector(right), rtol=0, atol=10 * close)
            begun = {k: v.clone() for k, v in tensors.items()}
        if moment == "end":
            for t, (x, before) in kept.items():
                after = net(tensors, x, torch.tensor(t))[:, 2 * t : 2 * t + 2]
                assert (after - before).abs().max() < close
            x = stream[task].train.inputs().to(getattr(torch, dtype))
            kept[task] = (x, net(tensors, x, torch.tensor(task))[:, 2 * task : 2 * task + 2])
        if moment == "end" and phase.name == ADAPT:
            delta = lowrank.delta(net.module, tensors, "1") - lowrank.delta(net.module, begun, "1")
            assert delta.norm() > 0.01
            for x, _ in list(kept.values())[:-1]:
                assert (x @ delta.T).abs().max() < close
            assert (delta - delta @ projector(down)).abs().max() < close
    assert len(kept) == 3


def test_without_the_old_space_it_would_not(walk, monkeypatch):
    monkeypatch.setattr(
        "perdure.strategies.adapters.inflora.added", lambda c, old, share: torch.zeros_like(old)
    )
    stream, first = subspaces(), None
    x = stream[0].train.inputs().double()
    for moment, _, tensors, _, net in walk(
        InfLoRA(rank=3), stream, deep, optimizer=SGD(), lr=0.05, decay=0.0
    ):
        if moment == "end":
            outputs = net(tensors, x, torch.tensor(0))[:, :2]
            first = outputs if first is None else first
    assert (outputs - first).abs().max() > 0.01


def test_projections_are_frozen_and_other_adapters_stay_to_the_bit(walk):
    begun, ends = {}, {}
    strategy = InfLoRA(rank=2, energy=0.5)
    for moment, phase, tensors, _, net in walk(strategy, subspaces(), deep, optimizer=AdamW()):
        assert DOWN in net.buffers
        task = phase.tasks[0]
        if moment == "begin":
            begun[task] = tensors
            assert not tensors[UP][task:].any()
        if moment == "end":
            ends[task] = tensors
            assert torch.equal(tensors[DOWN], begun[task][DOWN])
            for t in range(task):
                assert torch.equal(tensors[UP][t], ends[t][UP][t])
                assert torch.equal(tensors[DOWN][t], ends[t][DOWN][t])
            assert task == 0 or (tensors[UP][task] != 0).any()


def test_the_old_space_grows_with_the_tasks_and_the_share_rises(walk):
    # In a subspace of dimension 4 each; the share is 0.5, 0.5 + 0.5 / 3, 0.5 + 1 / 3 of the task's energy.
    stream, held = subspaces(), []
    for moment, phase, _, state, _ in walk(InfLoRA(rank=2, energy=0.5, final=1.0), stream, deep):
        if moment == "end":
            x, old = stream[phase.tasks[0]].train.inputs().double(), state["inflora"]["old"]["1"]
            held.append(((x @ old).square().sum() / x.square().sum()).item())
            torch.testing.assert_close(old @ old, old, rtol=0, atol=1e-12)
            held[-1] = (held[-1], round(old.trace().item()))
    for (share, _), least in zip(held, (0.5, 2 / 3, 5 / 6), strict=True):
        assert share >= least
    ranks = [rank for _, rank in held]
    assert ranks == sorted(ranks)
    assert 1 <= ranks[0] < ranks[-1] < 12


def test_samples_stand_for_the_task(walk):
    def old(samples):
        strategy = InfLoRA(rank=2, energy=0.9, samples=samples)
        *_, (*_, state, _) = walk(strategy, subspaces(), deep)
        return state["inflora"]["old"]["1"]

    whole = old(None)
    torch.testing.assert_close(old(30), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(old(999), whole, rtol=0, atol=1e-10)
    assert (old(5) - whole).abs().max() > 0.01


@pytest.mark.parametrize("spec", ["inflora(warm=False, samples=4)"])
def test_it_keeps_the_contract(spec, level):
    check_strategy(get(spec), level=level)


def test_it_forgets_less_than_lora_where_tasks_have_heads_of_their_own():
    terms = {"model": "mlp(hidden=[32])", "seeds": 4, "epochs": 4, "quiet": True}
    results = compare("split-digits(setting='task') | take(4)", ["lora", "inflora"], **terms)
    forgotten = [results.metric("forgetting", name).mean() for name in results.strategies]
    assert forgotten[1] < forgotten[0]


# ---- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ("energy=0", "energy, a share, must lie in .0, 1.; found 0"),
        ("final=1.1", "final, a share, must lie in .0, 1.; found 1.1"),
        ("samples=0", "samples must be a whole number of at least 1; found 0"),
        ("fresh=True", "fresh"),
    ],
)
def test_bad_settings_are_one_line(terms, line):
    with pytest.raises(PerdureError, match=line) as caught:
        get(f"inflora({terms})")
    assert "\n" not in str(caught.value)


class Packed(nn.Module):
    """Torch's attention multiplies with the weight of its output layer without calling it."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(5, 1, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        x = x.unsqueeze(1)
        return self.head(self.attention(x, x, x, need_weights=False)[0].squeeze(1))


def test_a_layer_that_is_not_called_is_refused_before_training():
    with pytest.raises(PerdureError, match=r"'attention\.out_proj' is not called as a layer: leave it out"):
        compare(tiny_stream(), ["inflora"], model=Packed, seeds=1, quiet=True)
    results = compare(tiny_stream(), ["lora"], model=Packed, seeds=1, epochs=1, quiet=True)
    assert np.isfinite(results.scores["lora"]).all()
