"""Hidden units: which there are, how active they are, and what renewing them changes."""

import pytest
import torch
from torch import nn

from perdure import PerdureError
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios import Classification
from perdure.strategies.parts import units
from perdure.strategies.parts.units import Units


def rng(seed=0, step=0):
    return Rng(torch.tensor(seed), torch.tensor(step))


def batch_of(x, weight=None):
    n = len(x)
    rows = {"x": x, "y": torch.zeros(n, dtype=torch.int64), "task": torch.zeros(n, dtype=torch.int64)}
    weight = torch.ones(n, dtype=x.dtype) if weight is None else weight
    return Batch({**rows, "weight": weight}, torch.tensor(0), rng())


def net_of(module):
    module = module.double()
    params = {k: v.detach().clone() for k, v in module.named_parameters()}
    return Net(module, {}, None, Classification()), params


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2),
    )  # fmt: skip


def test_layers_and_what_reads_them():
    found = units.hidden(convolutional(), "redo")
    assert found == [Units("0", "2", 2), Units("2", "6", 3), Units("6", "8", 5)]


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.BatchNorm1d(4)])
def test_norms_may_stand_between_where_nothing_is_renewed(norm):
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.ReLU(), nn.Linear(4, 2))
    assert units.hidden(model, "watch", norms=True) == [Units("0", "3", 4)]
    with pytest.raises(PerdureError, match=r"redo needs a sequence of .* without norms; found") as caught:
        units.hidden(model, "redo")
    assert "\n" not in str(caught.value)


def test_frozen_weights_are_refused():
    layers = units.hidden(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), "cbp")
    with pytest.raises(PerdureError, match=r"cbp renews weights that are trained; found '0.weight' frozen"):
        units.start({"2.weight": torch.zeros(2, 4)}, layers, "cbp")


def test_activity_by_hand_and_without_padding():
    net, params = net_of(nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh(), nn.Linear(2, 1)))
    params["0.weight"] = torch.tensor([[1.0], [-2.0]]).double()
    x = torch.tensor([[1.0], [-3.0], [100.0]]).double()
    weight = torch.tensor([1.0, 1.0, 0.0]).double()
    layers = units.hidden(net.module, "redo")
    active = units.activity(net, params, batch_of(x, weight), layers)["0"]
    tanh = torch.tanh(torch.tensor([[1.0, 3.0], [2.0, 6.0]]).double())
    torch.testing.assert_close(active, tanh.mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(units.score(active).mean(), torch.tensor(1.0).double())
    assert units.score(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_channels_are_units_and_places_their_mean():
    net, params = net_of(convolutional())
    x = torch.randn(4, 1, 4, 4).double()
    layers = units.hidden(net.module, "redo")
    active = units.activity(net, params, batch_of(x), layers)
    inner = net.module[:5](x)
    torch.testing.assert_close(active["2"], inner.abs().mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    reach = params["6.weight"].view(5, 3, 4).abs().sum((0, 2))
    torch.testing.assert_close(units.reach(params, layers[1]), reach)
    torch.testing.assert_close(units.reach(params, layers[0]), params["2.weight"].abs().sum((0, 2, 3)))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_renewing_cuts_a_unit_off_and_leaves_the_others(which):
    net, params = net_of(convolutional())
    x = torch.randn(4, 1, 4, 4).double()
    layer = units.hidden(net.module, "redo")[which]
    begun = units.start(params, [layer], "redo")
    chosen = torch.arange(layer.width) == 1
    new = units.renew(params, begun, layer, chosen, rng())
    weight, bias = f"{layer.layer}.weight", f"{layer.layer}.bias"
    assert {k for k in params if not torch.equal(params[k], new[k])} >= {weight, f"{layer.reader}.weight"}
    assert all(
        torch.equal(new[k], params[k]) for k in params.keys() - {weight, bias, f"{layer.reader}.weight"}
    )
    for k in (weight, bias):
        assert torch.equal(new[k][~chosen], params[k][~chosen])
    assert not torch.equal(new[weight][1], params[weight][1])
    assert new[bias][1] in params[bias]
    assert units.reach(new, layer)[1] == 0
    # What the unit does is of no consequence any more, and the others do what they did.
    cut = {**params, f"{layer.reader}.weight": new[f"{layer.reader}.weight"]}
    wild = {**new, bias: torch.where(chosen, 1000.0, new[bias])}
    task = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(net(new, x, task), net(cut, x, task))
    assert torch.equal(net(new, x, task), net(wild, x, task))
    blocks = new[f"{layer.reader}.weight"].reshape(-1, layer.width, 1 if which == 2 else (9, 4)[which])
    old = params[f"{layer.reader}.weight"].reshape(blocks.shape)
    assert torch.equal(blocks[:, ~chosen], old[:, ~chosen])
    none = units.renew(params, begun, layer, torch.zeros_like(chosen), rng())
    assert all(torch.equal(none[k], v) for k, v in params.items())


def test_fresh_weights_come_from_the_start_all_alike():
    begun = torch.arange(12.0).view(4, 3)
    drawn = torch.stack([units.fresh(begun, rng(step=i), "w") for i in range(600)])
    assert drawn.shape == (600, 4, 3)
    # Neighbours on the ring, and every place as often as any other: 600 expected, 5 deviations of 24.
    assert torch.equal((drawn[..., 1:] - drawn[..., :-1]) % 12, torch.ones(600, 4, 2))
    counts = torch.bincount(drawn.long().flatten(), minlength=12)
    assert counts.sum() == 7200
    assert (counts - 600).abs().max() < 120
    assert torch.equal(units.fresh(begun, rng(step=3), "w"), drawn[3])
