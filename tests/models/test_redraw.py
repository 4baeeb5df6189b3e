"""A module given as the model: drawn anew, and what is said of what cannot be or is lost."""

import copy

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models import get as get_model
from perdure.models.redraw import notes, redraw
from perdure.testing import tiny_stream


class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.gain = nn.Parameter(torch.randn(5)), nn.Parameter(torch.ones(5))
        self.register_buffer("table", torch.randn(5))
        self.register_buffer("ids", torch.arange(5))
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(x * self.scale * self.gain + self.table)


class Own(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)
        draw(self)

    def forward(self, x):
        return self.b(self.a(x))


class Draws(Own):
    """Has a way to draw its layers of its own."""

    def reset_parameters(self):
        nn.init.orthogonal_(self.a.weight, gain=5.0)
        nn.init.constant_(self.a.bias, 3.0)


STANDARD = [
    lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4), nn.Linear(4, 1), nn.PReLU()),
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)),
    lambda: nn.Sequential(nn.Embedding(20, 6, padding_idx=0), nn.EmbeddingBag(5, 6), nn.Bilinear(2, 3, 1)),
    lambda: nn.ModuleList(
        [nn.GRU(3, 4), nn.LSTM(3, 4, 2, bidirectional=True), nn.RNN(3, 4), nn.GRUCell(2, 2)]
    ),
    lambda: nn.MultiheadAttention(8, 2),
    lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=4, add_bias_kv=True),
    lambda: nn.TransformerEncoderLayer(8, 2, 16),
    lambda: get_model("mlp")((5,), 2),
    lambda: get_model("resnet(width=4)")((1, 8, 8), 10),
    lambda: get_model("cnn")((1, 8, 8), 10),
]


@pytest.mark.parametrize("make", STANDARD)
def test_nothing_is_said_of_standard_layers(make):
    torch.manual_seed(0)
    assert notes(make()) == []


def initialised(draw):
    def change(module):
        with torch.no_grad():
            draw(module)

    return change


LOST = [
    (lambda m: nn.init.orthogonal_(m.a.weight, gain=5.0), "'a.weight'"),
    (lambda m: nn.init.orthogonal_(m.a.weight), "'a.weight'"),
    (lambda m: nn.init.zeros_(m.a.bias), "'a.bias'"),
    (lambda m: nn.init.constant_(m.a.bias, 3.0), "'a.bias'"),
    (lambda m: nn.init.zeros_(m.b.weight), "'b.weight'"),
    (lambda m: nn.init.normal_(m.a.weight, std=1.0), "'a.weight'"),
    (lambda m: nn.init.kaiming_normal_(m.a.weight), "'a.weight'"),
    (lambda m: nn.init.eye_(m.a.weight), "'a.weight'"),
]


@pytest.mark.parametrize(("draw", "name"), LOST)
def test_an_initialisation_of_ones_own_is_not_lost_in_silence(draw, name):
    torch.manual_seed(0)
    (line,) = notes(Own(initialised(draw)))
    assert f"replaces the values that it had in {name}; pass" in line
    assert "pass a function that builds the module" in line
    assert "\n" not in line


def test_running_statistics_are_not_lost_in_silence():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model(torch.randn(50, 3))
    (line,) = notes(model)
    assert "had in '1.running_mean', '1.running_var'" in line


def test_raw_parameters_are_named():
    (line,) = notes(Raw())
    assert "nothing draws 'scale', 'table' anew: all seeds start with the same values" in line


def test_parametrised_layers_are_named():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 2))
    assert any("parametrizations.weight.original1" in line for line in notes(model))


@pytest.mark.parametrize(
    "make", [lambda: nn.MultiheadAttention(8, 2), lambda: nn.TransformerEncoderLayer(8, 2)]
)
def test_attention_is_drawn_anew(make):
    given = make()
    torch.manual_seed(1)
    one, two = (dict(redraw(given).named_parameters()) for _ in range(2))
    torch.manual_seed(1)
    again = dict(redraw(given).named_parameters())
    for name, value in one.items():
        assert torch.equal(value, again[name])
        assert torch.equal(value, two[name]) == bool((value == value.flatten()[0]).all()), name


def test_what_a_module_draws_for_its_layers_counts():
    given = Draws(lambda m: m.reset_parameters())
    new = redraw(given)
    assert new.a.bias.tolist() == [3.0] * 8
    assert not torch.equal(new.a.weight, given.a.weight)
    assert notes(given) == []


def test_notes_touch_neither_the_module_nor_the_generator():
    model = Raw()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    notes(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_results_carry_the_notes_once():
    given = {"seeds": 2, "epochs": 1, "quiet": True}
    stream = tiny_stream("domain", (6, 6))
    told = compare(stream, ["naive"], model=Raw(), **given).warnings
    assert sum("anew: all seeds start with the same values" in line for line in told) == 1
    for model, pretrained in ((Raw, False), (Raw(), True), (nn.Linear(5, 2), False)):
        told = compare(stream, ["naive"], model=model, pretrained=pretrained, **given).warnings
        assert not any("the model is a module" in line for line in told)


def test_a_function_that_returns_one_module_is_refused():
    one = nn.Linear(5, 2)
    with pytest.raises(
        PerdureError, match="must build a new module at each call; it returned the same Linear"
    ):
        compare(tiny_stream("domain", (6,)), ["naive"], model=lambda: one, seeds=2, epochs=1, quiet=True)
