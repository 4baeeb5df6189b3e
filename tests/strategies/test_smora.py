"""SMoRA: the formula and the balance by hand, what moves, and what it refuses."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.adapters.smora import SMoRALinear, choose
from perdure.strategies import SMoRA, get
from perdure.strategies.adapters.smora import taken
from perdure.testing import check_strategy, tiny_model, tiny_stream

STREAM = tiny_stream("domain", 2)
LOG2, LOG5 = (float(torch.tensor(v).log()) for v in (2.0, 5.0))


def test_it_keeps_the_contract(level):
    check_strategy(SMoRA(rank=3, active=1, speed=0.05), tiny_stream("task", (10, 8)), level=level)


def by_hand(balance):
    layer = SMoRALinear(nn.Linear(2, 1, bias=False), rank=3, active=2, scale=0.5).double()
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[1.0, -1.0]]))
        layer.down.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        layer.up.copy_(torch.tensor([[16.0, 8.0, 4.0]]))
        # Scores of x = (1, 0) are 2/8, 1/8 and 5/8.
        layer.gate.copy_(torch.tensor([[LOG2, 0.0], [0.0, 0.0], [LOG5, 0.0]]))
        layer.balance.copy_(torch.tensor(balance))
    return layer


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        # Ranks 0 and 2: 1 + 0.5 * (2/8 * 16 * 1 + 5/8 * 4 * 1).
        ([0.0, 0.0, 0.0], 4.25),
        # Ranks 0 and 1, whose down is 0 here: the balance chooses, the score weighs.
        ([0.0, 1.0, -1.0], 3.0),
    ],
)
def test_the_formula_by_hand(balance, expected):
    found = by_hand(balance)(torch.tensor([[1.0, 0.0]]).double())
    assert found.item() == pytest.approx(expected)


def test_who_took_what_by_hand():
    chosen = torch.tensor([[[1.0, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 0, 1]], [[1, 1, 0], [1, 1, 0]]])
    counts = torch.tensor([True, True, False])
    assert taken(chosen, counts).tolist() == [3, 2, 3]
    assert taken(chosen[:, 0], counts).tolist() == [1, 1, 2]


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 3), (6, 2, 4, 3)])
def test_each_row_takes_as_many_ranks_and_no_more(shape):
    torch.manual_seed(0)
    scores, chosen = choose(torch.randn(shape), torch.randn(7, 3), torch.randn(7), 3)
    assert scores.shape == chosen.shape == (*shape[:-1], 7)
    assert (chosen.sum(-1) == 3).all()


def test_with_all_ranks_and_equal_scores_it_is_lora():
    layer = SMoRALinear(nn.Linear(3, 2), rank=4, active=4, scale=4.0)
    nn.init.normal_(layer.up)
    nn.init.zeros_(layer.gate)
    x = torch.randn(5, 3)
    torch.testing.assert_close(layer(x), layer.base(x) + x @ (layer.up @ layer.down).mT)


def test_at_first_it_answers_as_the_model_and_asks_for_no_task():
    torch.manual_seed(0)
    model, x = tiny_model((5,), 4), torch.randn(6, 5)
    assert torch.equal(SMoRA().extend(model, STREAM)(x), model(x))


def test_what_moves_and_where_the_balance_goes(walk):
    spec = "smora(rank=4, active=1, speed=0.25)"
    moments = {(m, p.name): v for m, p, v, *_ in walk(spec, STREAM, tiny_model)}

    def moved(phase):
        before, after = moments["start", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    head = {"3.weight", "3.bias"}
    assert moved("learn") == head | {"1.base.weight", "1.base.bias"}
    assert moved("adapt") == head | {f"1.{k}" for k in ("down", "up", "gate", "balance")}
    # 3 epochs of 3 steps of 8 samples: each moves by a quarter, up or down, or stays.
    steps = moments["end", "adapt"]["1.balance"] / 0.25
    assert torch.equal(steps, steps.round())
    assert steps.abs().max() <= 9


def test_the_balance_spreads_the_load(walk):
    """With one rank that all samples prefer, only a balance that moves gives the others any."""

    def load(speed):
        spec = SMoRA(rank=3, active=1, speed=speed, warm=False)
        _, _, values, *_ = list(walk(spec, STREAM, tiny_model, lr=1e-9, epochs=8))[-1]
        x = torch.cat([task.train.x for task in STREAM]).double()
        chosen = choose(x, values["1.gate"], values["1.balance"], 1)[1]
        return chosen.mean(0).amax()

    assert load(0.02) < load(0.0)


@pytest.mark.parametrize("setting", ["task", "class", "domain", "joint"])
def test_any_setting_will_do(setting):
    results = compare(
        tiny_stream(setting, 2), ["smora(rank=3)"], model=tiny_model, seeds=1, epochs=1, quiet=True
    )
    (name,) = results.scores
    assert torch.as_tensor(results.scores[name]).isfinite().all()


def convolutions():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 2))


def merges():
    class Merges(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.layer(torch.cat([x, x])))[: len(x)]

    return Merges()


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (convolutions, "needs linear layers to adapt; found convolutions alone"),
        (merges, "'layer' is given a row for each of .* samples; found .* rows"),
    ],
)
def test_what_it_refuses(model, line):
    with pytest.raises(PerdureError, match=line):
        compare(STREAM, ["smora"], model=model, seeds=1, quiet=True)


@pytest.mark.parametrize("arguments", ["rank=0", "rank=2, active=3", "alpha=0", "speed=-1"])
def test_arguments_are_checked(arguments):
    with pytest.raises(PerdureError, match=r"rank|active|alpha|speed"):
        get(f"smora({arguments})")
