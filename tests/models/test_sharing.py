"""Multi-task modules: their parts, and what each computes, against loops and by hand."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from perdure import PerdureError
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates, mix
from perdure.models.sharing.heads import Heads
from perdure.models.sharing.trunk import blocks, copies, cut, widths


def trunk():
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.ReLU())


# ---- what is made out of a model ------------------------------------------------------------------------


def test_a_model_is_cut_below_its_head():
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    below, width = cut(model, 3, "mmoe")
    x = torch.randn(7, 5)
    assert width == 6
    torch.testing.assert_close(model[2](below(x)), model(x), rtol=0, atol=0)
    assert below[0].weight is not model[0].weight


class AsksForTheTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x, task):
        return self.head(self.a(x))


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (nn.Linear(5, 3), "mmoe needs layers below the head; found a model that is a linear layer alone"),
        (nn.Conv2d(1, 3, 2), "mmoe needs a linear layer as the head; found Conv2d"),
        (nn.ReLU(), "mmoe needs a head, a linear or convolution layer with 3 outputs; found none in ReLU"),
        (AsksForTheTask(), "mmoe needs a model of the input alone; AsksForTheTask takes the task"),
    ],
)
def test_what_cannot_be_cut_is_refused(model, line):
    with pytest.raises(PerdureError) as caught:
        cut(model, 3, "mmoe")
    assert str(caught.value) == line


class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))

    def forward(self, x):
        return x * self.scale


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (nn.Flatten(), "mmoe needs layers with parameters below the head; found none"),
        (
            nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5)),
            "mmoe takes no running statistics, which experts can't share; found BatchNorm1d '1': "
            "use a layer or group norm",
        ),
        (
            nn.Sequential(nn.Linear(5, 5), Raw()),
            "mmoe needs weights that can be drawn anew for each expert; nothing draws '1.scale': "
            "give its module a reset_parameters",
        ),
    ],
)
def test_what_cannot_be_copied_is_refused(part, line):
    with pytest.raises(PerdureError) as caught:
        copies(part, 3, "mmoe")
    assert str(caught.value) == line


def test_copies_differ_but_the_first():
    part = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6))
    made = copies(part, 3, "mmoe")
    assert torch.equal(made[0][0].weight, part[0].weight)
    assert len({m[0].weight.sum().item() for m in made}) == 3
    assert all(m[1].weight.tolist() == [1.0] * 6 for m in made)


def test_blocks_follow_each_other_as_the_whole_does():
    whole = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU()), nn.Identity(),
        nn.Linear(6, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 4),
    ).eval()  # fmt: skip
    x = torch.randn(7, 5)
    for levels, lengths in ((1, [7]), (2, [7, 1]), (3, [4, 3, 1])):
        cut_up = blocks(whole, levels, "ple")
        assert [len(b) for b in cut_up] == lengths
        out = x
        for block in cut_up:
            out = block(out)
        torch.testing.assert_close(out, whole(x), rtol=0, atol=0)
    assert widths(blocks(whole, 3, "ple"), x[:1], "ple") == [5, 6, 4]


def test_what_cannot_be_cut_into_blocks_is_refused():
    with pytest.raises(PerdureError, match=r"ple fuses at 2 levels and needs an nn\.Sequential; found Raw"):
        blocks(Raw(), 2, "ple")
    with pytest.raises(PerdureError, match=r"a layer with weights for each of its 3 levels .*; found 2"):
        blocks(trunk(), 3, "ple")
    with pytest.raises(PerdureError, match="mmoe has gates on the input, which need real numbers; found"):
        widths([nn.Embedding(5, 4)], torch.zeros(1, 3, dtype=torch.int64), "mmoe")
    with pytest.raises(PerdureError, match=r"the model does not take inputs of shape \(3,\)"):
        widths(blocks(trunk(), 2, "ple"), torch.zeros(1, 3), "ple")


# ---- the parts ------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x).relu())


@pytest.mark.parametrize(
    "part", [trunk, Tied, lambda: nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3))]
)
def test_a_bank_is_its_experts_one_by_one(part):
    experts = copies(part(), 3, "mmoe")
    bank = Bank(experts)
    x, own = torch.randn(7, 5), torch.randn(3, 7, 5)
    torch.testing.assert_close(bank(x), torch.stack([e(x) for e in experts]))
    torch.testing.assert_close(
        bank(own, each=True), torch.stack([e(i) for e, i in zip(experts, own, strict=True)])
    )
    assert {len(p) for p in bank.parameters()} == {3}
    assert len(list(bank.parameters())) == len(list(experts[0].parameters()))
    # What trains is what is given, not what the module holds.
    moved = {k: v + 1 for k, v in bank.named_parameters()}
    for e in experts:
        for p in e.parameters():
            p.data += 1
    torch.testing.assert_close(functional_call(bank, moved, (x,)), torch.stack([e(x) for e in experts]))


def test_experts_drop_units_of_their_own():
    part = nn.Sequential(nn.Linear(5, 50), nn.Dropout(0.5))
    bank = Bank([part] * 2)
    one, two = bank(torch.randn(4, 5)) == 0
    assert 0.3 < one.double().mean() < 0.7
    assert not torch.equal(one, two)


def test_gates_sum_to_one_and_look_at_all_numbers():
    gates = Gates(3, 6, 4)
    x = torch.randn(7, 2, 3)
    shares = gates(x)
    assert shares.shape == (4, 3, 7)
    torch.testing.assert_close(shares.sum(0), torch.ones(3, 7))
    expected = torch.stack([torch.softmax(x.flatten(1) @ w.T, -1) for w in gates.weight]).permute(2, 0, 1)
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(gates(x.expand(3, 7, 2, 3), each=True), expected)


def test_a_mixture_is_a_sum_over_experts():
    shares, experts = torch.rand(4, 3, 7), torch.randn(4, 7, 2, 5)
    expected = torch.zeros(3, 7, 2, 5)
    for g in range(3):
        for n in range(7):
            for e in range(4):
                expected[g, n] += shares[e, g, n] * experts[e, n]
    torch.testing.assert_close(mix(shares, experts), expected)


def test_an_output_sees_the_features_of_its_own_task():
    head = Heads([(0, 3), (1,)], 5, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0], [5.0, 6.0], [9.0, 9.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.0, 9.0, 1.0, 9.0]))
    features = torch.tensor([[[1.0, 10.0]], [[2.0, 20.0]]])
    # 1 + 20 + 0.5; 6 + 80 + 0; of no task: 0; 5 + 60 + 1
    assert head(features).tolist() == [[21.5, 86.0, 0.0, 66.0, 0.0]]
    with pytest.raises(PerdureError, match=r"expected 2 features of each sample .*; found a shape \(3,\)"):
        head(torch.zeros(2, 4, 3))


@pytest.mark.parametrize("towers", [(), (5,)])
def test_outputs_of_mixtures_are_those_of_the_mixed_features(towers):
    head = Heads([(0, 3), (1,)], 5, 4, towers)
    shares, experts = torch.rand(3, 2, 7), torch.randn(3, 7, 4)
    torch.testing.assert_close(head.of_mixtures(shares, experts), head(mix(shares, experts)))


def test_towers_belong_to_tasks():
    head = Heads([(0,), (1, 2)], 3, 4, (5, 3))
    features = torch.randn(2, 7, 4)
    expected = []
    for t, owned in enumerate([(0,), (1, 2)]):
        f = features[t]
        for tower in head.towers:
            f = torch.relu(f @ tower.weight[t].T + tower.bias[t])
        expected += [f @ head.weight[o] + head.bias[o] for o in owned]
    torch.testing.assert_close(head(features), torch.stack(expected, 1))
