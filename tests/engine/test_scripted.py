"""A record that is run often is run by torch's interpreter: the same bits, for every kind of step."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import compare
from perdure.engine.recording import trace

STREAM = "split-digits(tasks=2, setting='task')"


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 12, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(12, 10)

    def forward(self, x):
        return self.head(self.cells(x.flatten(1, 2))[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.layer(x.flatten(1, 2)).mean(1))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(inplace=True), nn.Linear(16, 10))

    def forward(self, x):
        return self.body(x).clamp_(-20, 20)


CASES = [
    ("mlp(hidden=[16])", "naive", {}),
    ("mlp(hidden=[16])", "ewc(strength=20) + replay(capacity=20)", {"optimizer": "sgd(momentum=0.9)"}),
    ("mlp(hidden=[16])", "derpp", {"optimizer": "adam"}),
    ("mlp(hidden=[16])", "packnet", {"optimizer": "adamw", "weight_decay": 0.01}),
    ("mlp(hidden=[16])", "agem", {"schedule": "cosine"}),
    ("mlp(hidden=[16])", "si", {}),
    ("mlp(hidden=[16])", "adaptive-svd", {}),
    ("cnn", "mas", {}),
    ("resnet(width=4)", "naive", {}),  # its norms write where they do not say so: stays as it is
    (Recurrent, "naive", {}),
    (Attending, "lwf", {"optimizer": "adam"}),
    (InPlace, "replay(capacity=20)", {}),
]


def lived(monkeypatch, often, stream, model, strategy, given):
    """Scores, and how many records were asked for another form, and had one."""
    asked = []

    def noting(*arguments):
        asked.append(scripted(*arguments))
        return asked[-1]

    scripted = trace.scripted
    monkeypatch.setattr(trace, "OFTEN", often)
    monkeypatch.setattr(trace, "scripted", noting)
    results = compare(stream, strategy, model=model, seeds=2, device="cpu", keep=True, quiet=True, **given)
    monkeypatch.undo()
    (name,) = results.strategies
    weights = results.trained[name].replica.params
    return results.scores[name], weights, asked


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "strategy", "given"), CASES)
def test_the_bits_are_the_same(monkeypatch, model, strategy, given):
    given = {"epochs": 1, "batch_size": 32, **given}
    plain, before, none = lived(monkeypatch, 10**9, STREAM, model, strategy, given)
    often, after, asked = lived(monkeypatch, 3, STREAM, model, strategy, given)
    assert none == []
    assert asked
    assert all(run is None for run in asked) == (model == "resnet(width=4)")
    assert np.array_equal(plain, often)
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_policies_too(monkeypatch, algorithm):
    stream = f"cartpole-physics(tasks=2, steps=1500, episodes=2, algorithm={algorithm})"
    plain, before, _ = lived(monkeypatch, 10**9, stream, None, "ewc(strength=1)", {})
    often, after, asked = lived(monkeypatch, 3, stream, None, "ewc(strength=1)", {})
    assert any(run is not None for run in asked)
    assert np.array_equal(plain, often)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_where_torch_has_no_interpreter_records_run_as_they_are(monkeypatch):
    def gone(*arguments, **options):
        raise RuntimeError("not any more")

    monkeypatch.setattr(torch.jit, "trace", gone)
    _, _, asked = lived(monkeypatch, 3, STREAM, "mlp(hidden=[16])", "naive", {"epochs": 1})
    assert asked
    assert all(run is None for run in asked)
