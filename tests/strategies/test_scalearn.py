"""ScaLearn: the sum by hand, what is learned in which phase, and what it refuses."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.adapters.scalearn import ScaledLinear
from perdure.strategies import ScaLearn, get
from perdure.testing import tiny_model, tiny_stream

STREAM = tiny_stream("task", 2)


def drawn(model):
    """Fill what is zero at first."""
    torch.manual_seed(1)
    for p in model.parameters():
        nn.init.normal_(p)
    return model.double()


def test_the_sum_by_hand():
    layer = ScaledLinear(nn.Linear(2, 2, bias=False), tasks=2, bottleneck=1, uniform=False).double()
    with torch.no_grad():
        layer.base.weight.copy_(torch.eye(2))
        layer.down.copy_(torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]]))
        layer.down_bias.copy_(torch.tensor([[1.0], [2.0]]))
        layer.up.copy_(torch.tensor([[[1.0], [2.0]], [[3.0], [1.0]]]))
        layer.up_bias.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        layer.scale.copy_(torch.tensor([[[1.0, 2.0], [0.5, 3.0]], [[0.0, -1.0], [2.0, 0.0]]]))
    layer.task = torch.tensor([0, 1])
    # y = (1, 2). Adapter 0: relu(3 + 1) = 4, so (4, 9). Adapter 1: relu(-1 + 2) = 1, so (3, 1).
    # Task 0: (4, 18) + (1.5, 3); task 1: (0, -9) + (6, 0).
    found = layer(torch.tensor([[1.0, 2.0], [1.0, 2.0]]).double())
    assert found.tolist() == [[6.5, 23.0], [7.0, -7.0]]


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_any_axes_between_sample_and_features(shape, uniform):
    layer = drawn(ScaledLinear(nn.Linear(3, 5), tasks=3, bottleneck=2, uniform=uniform))
    assert layer.scale.shape == (3, 3, 1 if uniform else 5)
    x, layer.task = torch.randn(shape).double(), torch.tensor([2, 0, 1, 2])
    found, expected = layer(x), []
    for one, t in zip(x, layer.task, strict=True):
        y = layer.base(one)
        each = [
            (y @ layer.down[s].mT + layer.down_bias[s]).relu() @ layer.up[s].mT + layer.up_bias[s]
            for s in range(3)
        ]
        expected.append(y + sum(w * a for w, a in zip(layer.scale[t], each, strict=True)))
    torch.testing.assert_close(found, torch.stack(expected))


def test_at_first_it_answers_as_the_model():
    torch.manual_seed(0)
    model, x = tiny_model((5,), 4), torch.randn(6, 5)
    adapted = ScaLearn().extend(model, STREAM)
    for t in (0, 1):
        assert torch.equal(adapted(x, torch.full((6,), t)), model(x))


def test_before_the_scales_are_learned_a_task_has_its_own_adapter_alone():
    adapted = ScaLearn().extend(tiny_model((5,), 4), STREAM)
    layer = adapted.get_submodule("body.1")
    with torch.no_grad():
        layer.up.normal_()
    x, task = torch.randn(6, 5), torch.tensor([0, 1, 0, 1, 0, 1])
    before = adapted(x, task)
    before[::2].sum().backward()
    for p in (layer.down, layer.down_bias, layer.up, layer.up_bias):
        assert p.grad[0].any()
        assert not p.grad[1].any()
    with torch.no_grad():
        layer.up[1] += 1
        x[1::2] += 1
    assert torch.equal(adapted(x, task)[::2], before[::2])


@pytest.mark.parametrize(
    ("spec", "width"), [("scalearn(bottleneck=2, start=3)", 6), ("scalearn(2, uniform=true)", 1)]
)
def test_what_moves_in_each_phase(spec, width, walk):
    moments = {(m, p.name): v for m, p, v, *_ in walk(spec, STREAM, tiny_model)}

    def moved(phase):
        before, after = moments["begin", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    head, scale = {"body.3.weight", "body.3.bias"}, "body.1.scale"
    assert moved("learn") == head | {"body.1.base.weight", "body.1.base.bias"}
    assert moved("adapt") == head | {f"body.1.{k}" for k in ("down", "down_bias", "up", "up_bias")}
    assert moved("scale") == head | {scale}
    own = torch.eye(2).double().unsqueeze(-1).expand(2, 2, width)
    assert torch.equal(moments["end", "adapt"][scale], own)
    start = torch.full((2, 2, width), get(spec).start / 2).double()
    assert torch.equal(moments["begin", "scale"][scale], start)


def test_without_warm_the_model_stays(walk):
    phases, tensors = zip(
        *((p, v) for _, p, v, *_ in walk(ScaLearn(2, warm=False), STREAM, tiny_model)), strict=True
    )
    assert [p.name for p in phases[::3]] == ["adapt", "scale"]
    assert [p.stage for p in phases[::3]] == [False, True]
    assert torch.equal(tensors[0]["body.1.base.weight"], tensors[-1]["body.1.base.weight"])


@pytest.mark.parametrize(
    ("stream", "model", "line"),
    [
        (tiny_stream("domain"), tiny_model, "told the task when it scores: .* setting='domain'"),
        (
            STREAM,
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 4)
            ),
            "scalearn needs linear layers to adapt; found convolutions alone",
        ),
    ],
)
def test_what_it_refuses(stream, model, line):
    with pytest.raises(PerdureError, match=line):
        compare(stream, ["scalearn"], model=model, seeds=1, quiet=True)


@pytest.mark.parametrize("argument", ["bottleneck=0", "start=0", "uniform=2", "targets='('"])
def test_arguments_are_checked(argument):
    with pytest.raises(PerdureError, match=argument.partition("=")[0]):
        get(f"scalearn({argument})")
