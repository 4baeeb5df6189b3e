"""Streams of teams in the plane."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, check_stream, compare
from perdure.core.entities import PRESENT
from perdure.core.random import Rng
from perdure.scenarios import get

RNG = Rng(torch.tensor(0), torch.tensor(0))


@pytest.mark.parametrize("name", ["spread-agents", pytest.param("reference-games", marks=pytest.mark.slow)])
def test_streams_of_particles_keep_the_contract_and_run(name):
    stream = get(f"{name}(tasks=2, steps=1, episodes=2)")
    check_stream(stream)
    results = compare(stream, "mcs", seeds=2, quiet=True)
    scores = results.scores["mcs"]
    assert scores.shape == (2, 2, 2)
    assert np.isfinite(scores).all()
    assert scores.max() < 0
    assert results.extras["mcs"]["mapped"]


def test_there_are_only_so_many_tasks():
    check_stream(get("reference-games"))
    for name, most in (("spread-agents", "3: 3 agents"), ("reference-games", "2: speaker and listener")):
        with pytest.raises(PerdureError, match=f"tasks must be at most {most}"):
            get(f"{name}(tasks=9)")


def test_tasks_have_one_size():
    stream = get("spread-agents")
    assert stream.names == ["3 agents", "2 agents", "4 agents"]
    envs = [task.train.env for task in stream]
    assert {env.shape for env in envs} == {(4, 8, 24)}
    there = [env.observe(env.reset(RNG, 1))[0, :, :, PRESENT] for env in envs]
    assert [int(t[:, 0].sum()) for t in there] == [3, 2, 4]
    assert [int(t.sum()) for t in there] == [3 * 6, 2 * 4, 4 * 8]
    assert not any(task.train.env.talk for task in get("reference-games"))
