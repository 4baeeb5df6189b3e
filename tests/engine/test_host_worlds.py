"""Worlds on the host, through the engine: rollouts and episodes of all replicas."""

import numpy as np
import pytest
import torch
from torch import nn

from perdure import compare
from perdure.engine.checkpoint import Checkpoint
from perdure.envs.hosted import HostCopies
from perdure.experiment import make_engine
from perdure.scenarios import cartpole_physics, gymnasium_ids
from perdure.strategies import get
from perdure.training import make_settings
from tests.envs.hosted_worlds import register

register()
LINE = "tests/Line-v0"


class Sure(nn.Module):
    """A policy that moves on for certain, and ten times the place as the value."""

    def __init__(self):
        super().__init__()
        self.none = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        sure = torch.full_like(x[:, :1], 50.0) + 0 * self.none
        return torch.cat([-sure, sure, 10 * x[:, :1]], 1)


def line(**options):
    settings = {"copies": 1, "horizon": 4, "discount": 0.5, "trace": 0.5, "episodes": 2}
    return gymnasium_ids([LINE], [options], steps=4, **settings)


def engine_of(stream, strategy="naive", **changes):
    base = {
        "model": "actor-critic(hidden=[16], each=3)", "seeds": 2, "epochs": 2, "batch_size": 32,
        "optimizer": "adam", "lr": 0.003, "weight_decay": 0.0, "schedule": "constant", "device": "cpu",
        "dtype": "float32", "precision": None, "pretrained": False, "eval_every": None, "tune": None,
    }  # fmt: skip
    return make_engine(stream, get(strategy), make_settings(stream, **{**base, **changes}))


def test_rollouts_and_returns_by_hand():
    engine = engine_of(line(end=3), model=Sure, batch_size=4)
    replica = engine.start()
    data = engine.load(engine.composition.phases(engine.stream)[0]).play(replica, 0)
    assert data.rows["x"].shape == (2, 4, 1)
    assert data.rows["x"][0].flatten().tolist() == [0, 1, 2, 0]
    assert data.rows["y"].tolist() == [[1] * 4] * 2
    # As in tests/scenarios/test_rl.py: d = r + V(next) / 2 - V, nothing beyond the end.
    by_hand = torch.tensor([6 + (2 - 17 / 4) / 4, 2 - 17 / 4, -17, 6])
    torch.testing.assert_close(data.rows["value"][1], by_hand + torch.tensor([0.0, 10, 20, 0]))
    torch.testing.assert_close(data.rows["gain"][0], (by_hand - by_hand.mean()) / (by_hand.std() + 1e-8))
    # 1 + 2 + 3, and no more once it has ended.
    assert engine.evaluate(replica).tolist() == [[6.0], [6.0]]


def test_worlds_go_on_within_a_phase_and_a_boundary_enters_anew():
    engine = engine_of(line(end=9), model=Sure, batch_size=4)
    replica = engine.start()
    worlds = engine.load(engine.composition.phases(engine.stream)[0])

    def places(moment="", step=0):
        return worlds.play(replica, step, moment).rows["x"][0].flatten().tolist()

    assert places() == [0, 1, 2, 3]
    assert places("end_task/") == [0, 1, 2, 3]
    assert places(step=1) == [4, 5, 6, 7]


class Even(Sure):
    """A policy that draws either action alike."""

    def forward(self, x):
        return 0 * super().forward(x)


def test_draws_and_starts_differ_by_replica_step_rollout_and_moment():
    stream = gymnasium_ids(["CartPole-v1"], copies=2, horizon=32, episodes=2)
    engine = engine_of(stream, model=Even)
    replica = engine.start()
    worlds = engine.load(engine.composition.phases(stream)[0])

    def lived(step, moment=""):
        worlds.states[0] = None
        rows = worlds.play(replica, step, moment).rows
        return rows["y"].view(2, 32, 2), rows["x"].view(2, 32, 2, 4)[:, 0]

    done, first = lived(0)
    # As if thrown 32 times: the chance of one side less than 4 times is below 1e-5.
    assert done.sum(1).min() > 3
    assert done.sum(1).max() < 29
    assert len({tuple(row) for row in done.transpose(1, 2).flatten(0, 1).tolist()}) == 4
    assert len(first.flatten(0, 1).unique(dim=0)) == 4
    for other in (lived(1), lived(0, "end_task/")):
        assert not torch.equal(other[0], done)
        assert not torch.isclose(other[1], first).all(-1).any()
    again = lived(0)
    assert torch.equal(again[0], done)
    assert torch.equal(again[1], first)


def test_copies_that_are_done_with_are_closed(monkeypatch):
    closed = []
    monkeypatch.setattr(HostCopies, "close", lambda copies: closed.append(copies))
    engine = engine_of(line(end=3), model=Sure, batch_size=4)
    replica = engine.start()
    worlds = engine.load(engine.composition.phases(engine.stream)[0])
    worlds.play(replica, 0)
    assert not closed
    worlds.play(replica, 0, "end_task/")
    assert len(closed) == 2
    engine.evaluate(replica)
    assert len(closed) == 4


def test_a_replica_lives_the_same_life_alone_and_recorded_or_not(lives_the_same):
    both = gymnasium_ids(
        ["CartPole-v1"], physics=[{}, {"gravity": 20.0}], limit=40, copies=3, horizon=16, passes=2, episodes=2
    )
    weights = lives_the_same(lambda **changes: engine_of(both, "ewc", dtype="float64", **changes))
    assert not any(torch.equal(v[0], v[1]) for v in weights.values())


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.usefixtures("without_report")
def test_a_run_that_was_stopped_continues_to_the_same_bytes(tmp_path, monkeypatch):
    swing = gymnasium_ids(
        ["Pendulum-v1"], physics=[{}, {"g": 2.0}], limit=20, copies=2, horizon=16, passes=2, episodes=2
    )
    call = {"seeds": 2, "epochs": 2, "batch_size": 32, "quiet": True, "eval_every": 3}
    compare(swing, "naive", out=tmp_path / "whole", **call)

    def save(self, *args, original=Checkpoint.save):
        original(self, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(Killed):
            compare(swing, "naive", out=tmp_path / "cut", **call)
    results = compare(swing, "naive", out=tmp_path / "cut", resume=True, **call)
    assert results.extras["naive"]["mapped"]
    for file in ("scores.safetensors", "scores.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_validation_and_test_start_elsewhere_and_evaluations_alike():
    engine = engine_of(
        gymnasium_ids(["Pendulum-v1"], limit=20, episodes=2), model="actor-critic(deviations=1)"
    )
    replica, stream = engine.start(), engine.stream
    once, again = engine.evaluate(replica), engine.evaluate(replica)
    assert torch.equal(once, again)
    assert once[0] != once[1]
    val = engine.evaluate(replica, engine.load_scored([task.val for task in stream]))
    assert not torch.isclose(val, once).any()


@pytest.mark.slow
def test_cartpole_on_the_host_is_learned_about_as_well_as_ours():
    learned = {}
    for name, stream in {
        "host": gymnasium_ids(["CartPole-v1"], steps=16_384),
        "tensors": cartpole_physics(1, steps=16_384),
    }.items():
        results = compare(stream, "naive", seeds=4, quiet=True)
        learned[name] = results.scores["naive"][:, -1].mean()
        assert learned[name] > results.untrained["naive"].mean() + 50
    assert np.abs(np.log(learned["host"] / learned["tensors"])) < np.log(3)
