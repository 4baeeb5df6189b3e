"""The layers behind channel-wise lightweight reprogramming: filters, which tensors a task owns, files."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from perdure import PerdureError
from perdure.models import get as get_model
from perdure.models.adapters.anchored import (
    Reprogrammed,
    layout,
    load_anchor,
    load_deltas,
    parameter_count,
    plain_names,
    reprogram,
)

VARIANTS = ("default", "full", "scalar")


def small(shape=(1, 6, 6), outputs=6):
    return nn.Sequential(
        nn.Conv2d(shape[0], 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
        nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, outputs),
    )  # fmt: skip


# ---- the layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("spec", ["cnn(channels=[4, 6], hidden=8)", "resnet(width=4, blocks=1)"])
def test_at_the_start_the_logits_are_the_anchors(variant, spec):
    model = get_model(spec)((3, 16, 16), 7).eval()
    x = torch.randn(4, 3, 16, 16)
    assert (reprogram(model, variant).eval()(x) - model(x)).abs().max() <= 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
def test_torchvisions_nets_are_taken(variant):
    models = pytest.importorskip("torchvision.models")
    x = torch.randn(2, 3, 64, 64)
    for model in (models.resnet18(num_classes=5).eval(), models.squeezenet1_1(num_classes=5).eval()):
        assert (reprogram(model, variant).eval()(x) - model(x)).abs().max() <= 1e-6
        assert not any(isinstance(m, Reprogrammed) for m in model.modules()), "the model itself is left alone"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_filter_changes_only_its_own_channel(variant):
    model = reprogram(small(), variant).eval()
    seen = []
    layers = [m for m in model.modules() if isinstance(m, Reprogrammed)]
    x = torch.randn(2, 1, 6, 6)
    for layer in layers:
        hook = layer.register_forward_hook(lambda module, x, y: seen.append(y.detach().clone()))
        model(x)
        with torch.no_grad():
            layer.kernel[2] += torch.randn_like(layer.kernel[2])
        model(x)
        hook.remove()
        before, after = seen[-2:]
        assert [not torch.equal(before[:, j], after[:, j]) for j in range(before.shape[1])] == [
            j == 2 for j in range(before.shape[1])
        ]


def test_a_filter_is_a_zero_padded_cross_correlation_behind_the_convolution():
    layer = Reprogrammed(nn.Conv2d(2, 3, 3, stride=2, padding=1))
    with torch.no_grad():
        layer.kernel.copy_(torch.randn_like(layer.kernel))
    x = torch.randn(1, 2, 8, 8)
    before, after = layer.conv(x)[0], layer(x)[0]
    padded = nn.functional.pad(before, (1, 1, 1, 1))
    for k in range(3):
        by_hand = sum(layer.kernel[k, 0, i, j] * padded[k, i : i + 4, j : j + 4]
                      for i in range(3) for j in range(3))  # fmt: skip
        torch.testing.assert_close(after[k], by_hand)


def test_the_variants_filter_what_they_say():
    def shapes(variant):
        return [tuple(m.kernel.shape) for m in reprogram(small(), variant).modules()
                if isinstance(m, Reprogrammed)]  # fmt: skip

    assert shapes("default") == [(3, 1, 3, 3), (4, 1, 3, 3)]
    assert shapes("full") == [(3, 1, 3, 3), (5, 1, 3, 3), (4, 1, 3, 3)]
    assert shapes("scalar") == [(3, 1, 3, 3), (5, 1, 1, 1), (4, 1, 3, 3)]


def test_a_convolution_used_twice_has_one_filter():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = reprogram(nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(27, 2)))
    assert isinstance(model[0], Reprogrammed)
    assert model[0] is model[2]


# ---- how much -----------------------------------------------------------------------------------------


def test_the_paper_counts():
    models = pytest.importorskip("torchvision.models")
    fifty = parameter_count(models.resnet50())
    assert (fifty["layers"], fifty["kernels"], fifty["task"]) == (17, 34_560, 140_800)
    assert (fifty["backbone"], round(100 * fifty["share"], 3)) == (23_508_032, 0.599)
    eighteen = parameter_count(models.resnet18(), outputs=10)
    assert (eighteen["kernels"], eighteen["task"], eighteen["head"]) == (35_136, 54_336, 5_130)
    assert round(100 * eighteen["share"], 3) == 0.486


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_count_is_that_of_the_tensors(variant):
    model = reprogram(small(), variant)
    held, names = model.state_dict(), layout(model)
    counted = parameter_count(small(), variant)
    for what, keys in (("kernels", names.kernels), ("norms", names.norms), ("head", names.head)):
        real = [held[k] for k in keys if held[k].is_floating_point()]
        assert counted[what] == sum(v.numel() for v in real)


# ---- on disk ------------------------------------------------------------------------------------------


def deltas_of(model, path):
    held = model.state_dict()
    save_file({k: held[k] for k in layout(model).deltas}, path)
    return path


def test_deltas_are_all_that_is_loaded(tmp_path):
    torch.manual_seed(1)
    one, other = (reprogram(small(), "scalar") for _ in range(2))
    anchor = {k: v.clone() for k, v in other.state_dict().items() if k not in layout(other).deltas}
    load_deltas(other, deltas_of(one, tmp_path / "one"))
    assert all(torch.equal(other.state_dict()[k], v) for k, v in anchor.items())
    assert all(torch.equal(other.state_dict()[k], one.state_dict()[k]) for k in layout(one).deltas)


def test_what_does_not_fit_is_not_loaded(tmp_path):
    full = deltas_of(reprogram(small(), "full"), tmp_path / "full")
    with pytest.raises(PerdureError, match=r"found '3\.kernel' besides"):
        load_deltas(reprogram(small()), full)
    with pytest.raises(PerdureError, match=r"'3\.kernel' of shape \(5, 1, 1, 1\); found one of shape"):
        load_deltas(reprogram(small(), "scalar"), full)
    with pytest.raises(PerdureError, match=r"must hold '3\.kernel' of shape \(5, 1, 3, 3\); found none"):
        load_deltas(reprogram(small(), "full"), deltas_of(reprogram(small()), tmp_path / "default"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_but_the_filters_has_its_plain_name(variant):
    plain, model = small(), reprogram(small(), variant)
    names = plain_names(model)
    assert set(names) == set(model.state_dict()) - set(layout(model).kernels)
    assert sorted(names.values()) == sorted(plain.state_dict())
    model = reprogram(plain, variant)
    assert all(torch.equal(plain.state_dict()[v], model.state_dict()[k]) for k, v in names.items())


def test_an_anchor_with_a_layer_that_is_there_twice(tmp_path):
    def shared():
        conv = nn.Conv2d(3, 3, 3, padding=1)
        return nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(27, 2))

    one, other = shared(), shared()
    save_file(dict(one.named_parameters()), tmp_path / "anchor")
    head = other[4].weight.clone()
    load_anchor(other, tmp_path / "anchor")
    assert torch.equal(other[2].weight, one[0].weight)
    assert torch.equal(other[4].weight, head), "the head is left out"


# ---- what is refused ----------------------------------------------------------------------------------


def test_what_has_nothing_to_filter_is_refused():
    with pytest.raises(PerdureError, match="give a model with a Conv2d") as caught:
        reprogram(nn.Linear(2, 2))
    assert "\n" not in str(caught.value)
    pointwise = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(PerdureError, match="variant='full' takes those"):
        reprogram(pointwise)
    assert isinstance(reprogram(pointwise, "scalar")[0], Reprogrammed)
    with pytest.raises(PerdureError, match="variant must be one of default, full, scalar; found 'half'"):
        parameter_count(pointwise, "half")
    with pytest.raises(PerdureError, match="expected a linear or convolutional head; found none in ReLU"):
        layout(nn.ReLU())
