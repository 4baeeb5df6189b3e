"""Residual adapters: the formulas by hand, against torch's layers, what moves, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from perdure import PerdureError, compare
from perdure.models.adapters.by_task import of_each
from perdure.models.adapters.residual import Residual, TaskNorm, own_maps
from perdure.strategies import ResidualAdapters, get
from perdure.testing import check_strategy, tiny_model, tiny_norm, tiny_stream

STREAM = tiny_stream("task", 2)
KINDS = ("series", "parallel", "norm")


def drawn(module):
    """Fill what is zero at first."""
    torch.manual_seed(1)
    for p in module.parameters():
        nn.init.normal_(p)
    return module.double()


def images(shape=(5,), outputs=4):
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)),
        nn.Conv2d(1, 3, (1, 3), padding=(0, 1)),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(15, 6),
        nn.LayerNorm(6),
        nn.Linear(6, outputs),
    )


@pytest.mark.parametrize("kind", ["series", "norm"])
def test_it_keeps_the_contract(kind, level):
    check_strategy(ResidualAdapters(kind), level=level)


@pytest.mark.parametrize(("place", "expected"), [("parallel", [-16.0, 20.0]), ("series", [8.0, -30.0])])
def test_the_formula_by_hand(place, expected):
    layer = Residual(nn.Linear(1, 1, bias=False), tasks=2, place=place).double()
    with torch.no_grad():
        layer.base.weight.fill_(-1.0)
        layer.own.copy_(torch.tensor([[[5.0]], [[-3.0]]]))
    layer.task = torch.tensor([1, 0])
    # x = 4, task 1: f(x) = -4, and -3 times 4 or times -4; x = 5, task 0: f(x) = -5, and 5 times 5 or -5.
    found = layer(torch.tensor([[4.0], [5.0]]).double())
    assert found.flatten().tolist() == pytest.approx(expected)


LAYERS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": (3, 5), "stride": (1, 2), "padding": 2, "dilation": (2, 1)},
    {"kernel_size": (3, 5), "padding": "same", "dilation": 2},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 1, "stride": 2, "padding": 1},
]


@pytest.mark.parametrize("how", LAYERS)
def test_beside_a_convolution_it_is_the_middle_of_the_kernel(how):
    layer = drawn(Residual(nn.Conv2d(2, 3, **how), tasks=2, place="parallel"))
    x, layer.task = torch.randn(3, 2, 9, 8).double(), torch.tensor([1, 0, 1])
    found = layer(x)
    for one, answer, t in zip(x, found, layer.task, strict=True):
        whole = copy.deepcopy(layer.base)
        high, wide = ((size - 1) // 2 for size in whole.kernel_size)
        with torch.no_grad():
            whole.weight[:, :, high, wide] += layer.own[t]
        torch.testing.assert_close(answer, whole(one))


def test_behind_a_convolution_it_is_one_of_size_one():
    layer = drawn(Residual(nn.Conv2d(2, 3, 3, groups=1), tasks=2, place="series"))
    x, layer.task = torch.randn(2, 2, 5, 4).double(), torch.tensor([1, 0])
    y = layer.base(x)
    behind = [F.conv2d(y[i : i + 1], layer.own[t, :, :, None, None])[0] for i, t in enumerate(layer.task)]
    torch.testing.assert_close(layer(x), y + torch.stack(behind))


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 7), (4, 2, 5, 7)])
def test_both_ways_to_the_maps_of_each_sample(shape):
    weight, x, task = torch.randn(2, 5, 7), torch.randn(shape), torch.tensor([1, 0, 0, 1])
    torch.testing.assert_close(own_maps(weight, task, x), of_each(weight, task, x))


NORMS = [
    (nn.LayerNorm((3, 4)), (4, 2, 3, 4)),
    (nn.LayerNorm(4, bias=False), (4, 2, 4)),
    (nn.RMSNorm(4), (4, 4)),
    (nn.GroupNorm(2, 4), (4, 4, 3)),
    (nn.InstanceNorm2d(4), (4, 4, 3, 2)),
    (nn.BatchNorm1d(4), (4, 4)),
    (nn.BatchNorm2d(4, affine=False), (4, 4, 3, 2)),
    (nn.BatchNorm1d(4, track_running_stats=False), (4, 4, 3)),
]


@pytest.mark.parametrize(("norm", "shape"), NORMS)
def test_norms_are_torchs_with_the_scale_shift_and_statistics_of_the_task(norm, shape):
    layer = drawn(TaskNorm(norm, tasks=3))
    norm, task = layer.base, torch.tensor([0, 2, 0, 2])
    own = [copy.deepcopy(norm) for _ in range(3)]
    for train in (True, True, False):
        x, layer.task = torch.randn(shape).double() * 2 + 1, task
        layer.train(train)
        found = layer(x)
        for t in (0, 2):
            rows = own[t].train(train)(x[task == t])
            weight, bias = (getattr(norm, k, None) for k in ("weight", "bias"))
            w, b = 1.0 if weight is None else weight, 0.0 if bias is None else bias
            scale, shift = layer.scale[t] + w, layer.shift[t] + b
            if not isinstance(norm, nn.LayerNorm | nn.RMSNorm):
                w, b, scale, shift = (
                    v if isinstance(v, float) else v.view(-1, *(1,) * (len(shape) - 2))
                    for v in (w, b, scale, shift)
                )
            torch.testing.assert_close(found[task == t], (rows - b) / w * scale + shift)


def test_a_task_with_one_value_in_a_batch_takes_the_running_statistics():
    layer = TaskNorm(nn.BatchNorm1d(1), tasks=2).double()
    layer.mean.fill_(3.0)
    layer.var.fill_(4.0 - 1e-5)
    layer.task = torch.tensor([0, 0, 1])
    found = layer(torch.tensor([[1.0], [3.0], [9.0]]).double())
    assert found.flatten().tolist() == pytest.approx([-1.0, 1.0, 3.0], abs=1e-4)
    # 0.9 * 3 + 0.1 * 2, and 0.9 * 4 + 0.1 * 2 as torch's running variance has n - 1 below the sum.
    assert layer.mean.flatten().tolist() == pytest.approx([2.9, 3.0])
    assert layer.var.flatten().tolist() == pytest.approx([3.8, 4.0], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_at_first_it_answers_as_the_model(kind):
    torch.manual_seed(0)
    model, x = images(), torch.randn(6, 5)
    model(x)
    with torch.no_grad():
        model[2].weight.normal_()
        model[6].bias.normal_()
    adapted = ResidualAdapters(kind, warm=False).extend(model, STREAM).eval()
    for t in (0, 1):
        torch.testing.assert_close(adapted(x, torch.full((6,), t)), model.eval()(x))


@pytest.mark.parametrize("kind", KINDS)
def test_other_tasks_rows_and_weights_change_nothing(kind):
    adapted = drawn(ResidualAdapters(kind).extend(images(), STREAM)).train()
    x, task = torch.randn(8, 5).double(), torch.arange(8) % 2
    mine = task == 0
    found = adapted(x, task)[mine]
    found.square().sum().backward()
    for name, p in adapted.named_parameters():
        if name.endswith((".own", ".scale", ".shift")):
            assert p.grad[0].any()
            assert not p.grad[1].any()
    torch.testing.assert_close(adapted(x[mine], task[mine]), found)


@pytest.mark.parametrize(
    ("kind", "own"), [("norm", set()), ("series", {"body.1.own"}), ("parallel", {"body.1.own"})]
)
def test_what_moves_in_each_phase(walk, kind, own):
    moments = {(m, p.name): v for m, p, v, *_ in walk(ResidualAdapters(kind), STREAM, tiny_norm)}

    def moved(phase):
        before, after = moments["start", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    first = "body.1.base" if own else "body.1"
    head, running = {"body.5.weight", "body.5.bias"}, {"body.2.mean", "body.2.var"}
    warm = {f"{first}.weight", f"{first}.bias", "body.2.base.weight", "body.2.base.bias"}
    assert moved("learn") == head | running | warm
    assert moved("adapt") == head | running | own | {"body.2.scale", "body.2.shift"}


def test_it_learns_on_images_with_convolutions_and_without_norms():
    def plain():
        return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 4))

    for model in (images, plain):
        results = compare(STREAM, ["residual-adapters"], model=model, seeds=2, epochs=2, quiet=True)
        assert torch.as_tensor(results.scores["residual-adapters"]).isfinite().all()


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(5, 1, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        x = x.unsqueeze(1)
        return self.head(self.attend(x, x, x)[0].squeeze(1))


@pytest.mark.parametrize(
    ("spec", "stream", "model", "line"),
    [
        ("residual-adapters", tiny_stream("class"), tiny_model, "told the task when it .* setting='class'"),
        ("residual-adapters(kind=norm)", STREAM, tiny_model, "needs norm layers; found none in Sequential"),
        ("residual-adapters", STREAM, Attends, "torch's attention reads the weights of attend.out_proj"),
    ],
)
def test_what_it_refuses(spec, stream, model, line):
    build = model if model is tiny_model else lambda: model()
    with pytest.raises(PerdureError, match=line):
        compare(stream, [spec], model=build, seeds=1, quiet=True)


def test_arguments_are_checked():
    with pytest.raises(PerdureError, match="kind"):
        get("residual-adapters(kind=beside)")
    with pytest.raises(PerdureError, match="adapts all norm layers; found targets='1'"):
        ResidualAdapters("norm", "1")
    with pytest.raises(PerdureError, match="need a momentum; found momentum=None"):
        TaskNorm(nn.BatchNorm1d(3, momentum=None), 2)
