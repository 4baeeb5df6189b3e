"""Layer norms in front of activations: where they go, what they compute, and models that have no place."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy
from perdure.models import get
from perdure.strategies import LayerNorm


def test_it_keeps_the_contract(level):
    check_strategy(LayerNorm(), level=level)


def extended(model):
    return LayerNorm().extend(model, None)


def test_outputs_by_hand():
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0], [3.0], [3.0]]))
        model[2].weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 10.0]]))
    # a = x (1, 1, 3, 3): mean 2x, deviation |x|, normalised to (-1, -1, 1, 1) for positive x.
    found = extended(model)(torch.tensor([[5.0], [500.0], [-5.0]]).double())
    assert found.flatten().tolist() == pytest.approx([11.0, 11.0, 2.0], abs=1e-5)
    assert model(torch.ones(1, 1).double()).item() == 35.0  # what was given is left as it was


def test_names_of_weights_stay():
    model = get("mlp(hidden=[6, 5], dropout=0.1)")((4,), 3)
    new = dict(extended(model).named_parameters())
    old = dict(model.named_parameters())
    assert {k: v.shape for k, v in old.items()} == {k: new[k].shape for k in old}
    added = {k: tuple(v.shape) for k, v in new.items() if k not in old}
    assert added == {"1.0.weight": (6,), "1.0.bias": (6,), "4.0.weight": (5,), "4.0.bias": (5,)}


def test_convolutions_are_normalised_over_channels_and_places():
    model = extended(get("cnn(channels=[3], hidden=4)")((1, 4, 4), 2))
    norms = [m for m in model.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)]
    assert [type(m) for m in norms] == [nn.GroupNorm, nn.LayerNorm]
    inside = model[1][0](10 * model[0](torch.randn(5, 1, 4, 4)))
    torch.testing.assert_close(inside.mean((1, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(inside.var((1, 2, 3), correction=0), torch.ones(5), rtol=1e-3, atol=0)


def test_inputs_of_any_scale_give_the_same():
    model = extended(nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 3)))
    x = torch.randn(6, 4)
    torch.testing.assert_close(model(1000 * x), model(10 * x), rtol=1e-3, atol=1e-3)


def test_sequences_inside_other_modules_and_nested_ones():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Sequential(nn.Linear(3, 4)), nn.Dropout(0.1), nn.GELU())
            self.second = nn.Sequential(nn.Tanh(), nn.Linear(4, 2))

        def forward(self, x):
            return self.second(self.first(x))

    model = extended(Two())
    assert [k for k, m in model.named_modules() if isinstance(m, nn.LayerNorm)] == ["first.2.0"]


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 2),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 2)),
    ],
    ids=["linear", "no activation", "normalised", "activation first"],
)
def test_where_nothing_is_to_be_normalised_it_is_refused(model):
    with pytest.raises(PerdureError, match=r"layer-norm needs an nn\.Sequential with an") as caught:
        extended(model)
    assert "\n" not in str(caught.value)
