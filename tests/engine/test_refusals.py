"""What cannot be mapped or recorded: which line, what to write instead; and the fallback sample by sample."""

import re
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from perdure import compare
from perdure.core.refusals import describe
from perdure.engine.engine import Engine
from perdure.scenarios import from_arrays
from perdure.strategies import Naive, Strategy, get
from perdure.testing import tiny_stream
from perdure.training import Training


@dataclass(frozen=True)
class Weighs(Strategy):
    """Weigh the losses in a way that cannot be mapped."""

    name: ClassVar[str] = "weighs"

    def init(self, net, params, stream):
        return {"table": torch.ones(len(stream), 2)}

    def losses(self, net, params, state, batch, losses):
        return losses * self.weight(batch, state["table"])


class OneHot(Weighs):
    def weight(self, batch, table):
        return nn.functional.one_hot(batch.y).sum() * 0 + 1


class OneHotOfTwo(Weighs):
    def weight(self, batch, table):
        return nn.functional.one_hot(batch.y, 2).sum() / len(batch)


class Looks(Weighs):
    def weight(self, batch, table):
        return table[batch.current].mean()


class Takes(Weighs):
    def weight(self, batch, table):
        return batch.current.item() * 0 + 1


class Decides(Weighs):
    def weight(self, batch, table):
        if batch.current > 0:
            return 2.0
        return 1.0


class Chooses(Weighs):
    def weight(self, batch, table):
        return batch.x[batch.y > 0].mean() * 0 + 1


class Counts(Weighs):
    def weight(self, batch, table):
        return batch.y.unique().sum() * 0 + 1


class Writes(Weighs):
    def weight(self, batch, table):
        seen = torch.ones(2)
        seen[batch.current] = 1.0
        return seen.mean()


LINES = [
    (OneHot, "nn.functional.one_hot(batch.y)", "unsqueeze(-1) == torch.arange"),
    (OneHotOfTwo, "nn.functional.one_hot(batch.y, 2)", "unsqueeze(-1) == torch.arange"),
    (Looks, "table[batch.current]", "index_select(0, index.view(1)).squeeze(0)"),
    (Takes, "batch.current.item()", "keep values in tensors"),
    (Decides, "if batch.current > 0:", "torch.where(condition, a, b)"),
    (Chooses, "batch.x[batch.y > 0]", "torch.where(mask, x, 0)"),
    (Counts, "batch.y.unique()", "weigh them with a mask"),
    (Writes, "seen[batch.current] = 1.0", "index_put"),
]


@pytest.mark.parametrize(("make", "code", "hint"), LINES, ids=[m.__name__ for m, _, _ in LINES])
def test_the_message_names_the_users_own_line_and_what_to_write(make, code, hint):
    training = Training(1, 4, device="cpu")
    engine = Engine(tiny_stream("domain", (5,)), make(), training, nn.Linear(5, 2), [0, 1])
    replica, phase = engine.start(), Naive().phases(engine.stream)[0]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        next(engine.train(replica, phase, engine.load(phase)))
    (line,) = {str(w.message) for w in heard}
    assert re.search(r"one at a time: test_refusals.py:\d+: `", line)
    assert code in line
    assert hint in line
    assert "\n" not in line


def test_an_error_of_no_ones_line_is_told_as_it_is():
    assert describe(ValueError("too wide\nmore")) == "too wide"
    assert describe(KeyError()) == "KeyError"


# ---- sample by sample ---------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.body = getattr(nn, kind)(2, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Written(nn.Module):
    """The same as a GRU or RNN cell by hand would be, for the right values."""

    def __init__(self, inner):
        super().__init__()
        self.body, self.head = inner.body, inner.head

    def forward(self, x):
        h, p = x.new_zeros(len(x), 3), dict(self.body.named_parameters())
        for step in x.unbind(1):
            a = step @ p["weight_ih_l0"].T + p["bias_ih_l0"]
            b = h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
            h = torch.tanh(a + b)
        return self.head(h)


def sequences():
    rng = np.random.default_rng(0)
    return from_arrays(
        [(rng.normal(size=(10, 3, 2)), np.arange(10) % 2) for _ in range(2)], "domain", val=0.2
    )


def run(strategy, build, seeds=2):
    results = compare(
        sequences(), [strategy], model=build, seeds=seeds, epochs=1, batch_size=4, quiet=True, keep=True,
        dtype="float64",
    )  # fmt: skip
    return results, next(iter(results.trained.values())).params()


@pytest.mark.parametrize("strategy", ["ewc(strength=5)", "online-ewc", "mas", "gem(samples_per_task=3)"])
def test_what_vmap_refuses_goes_sample_by_sample_with_the_same_results(strategy):
    found = run(strategy, lambda: Recurrent("RNN"))[1]
    right = run(strategy, lambda: Written(Recurrent("RNN")), 1)[1]
    for name, value in right.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "seeds"), [("GRU", 2), ("GRU", 1), ("LSTM", 1)])
def test_one_warning_says_so(kind, seeds):
    results, _ = run("ewc", lambda: Recurrent(kind), seeds)
    told = [w for w in results.warnings if "one by one" in w or "one at a time" in w]
    assert len(told) <= 1


def test_the_fallback_of_one_net_alone():
    training = Training(1, 4, device="cpu", dtype="float64")
    engine = Engine(sequences(), get("mas"), training, lambda: Recurrent("GRU"), [0])
    net = engine.program.net({})
    params = {k: v[0] for k, v in engine.start().params.items()}
    x, task = torch.randn(3, 3, 2, dtype=torch.float64), torch.zeros((), dtype=torch.int64)

    def slope(one):
        return torch.func.grad(lambda p: net(p, one[None], task).sum())(params)

    with pytest.warns(
        RuntimeWarning, match="single samples cannot be mapped and are gone through one by one"
    ):
        found = net.each(slope, x)
    by_hand = replace(net, mappable=False).each(slope, x)
    assert all(torch.equal(found[k], by_hand[k]) for k in params)
