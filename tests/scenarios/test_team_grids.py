"""Streams of teams on grids."""

import pytest

from perdure import PerdureError, check_stream, compare
from perdure.scenarios import alicebob_agents, get

SHAPES = {"alicebob-agents": (3, 7, 24), "skirmish-units": (5, 10, 24)}


@pytest.mark.parametrize("name", SHAPES)
def test_they_keep_the_contract(name):
    check_stream(get(f"{name}(tasks=3, steps=1, episodes=2)"))
    with pytest.raises(PerdureError, match="tasks must be at most"):
        get(f"{name}(tasks=9)")


@pytest.mark.parametrize("name", SHAPES)
def test_tasks_are_of_one_size(name):
    stream = get(f"{name}(tasks=3)")
    assert {task.train.env.shape for task in stream} == {SHAPES[name]}
    assert len({str(task.train.env) for task in stream}) == 3
    agents, rows, _ = SHAPES[name]
    assert stream.outputs == agents * (5 + rows) + 1


@pytest.mark.slow  # records of two teams
@pytest.mark.parametrize("name", SHAPES)
def test_one_policy_learns_teams_of_several_sizes(name):
    stream = get(f"{name}(tasks=2, steps=1, episodes=2)")
    results = compare(stream, "naive", seeds=2, quiet=True, model="team-net(width=8)")
    assert results.scores["naive"].shape == (2, 2, 2)
    assert 0 <= results.scores["naive"].min() <= results.scores["naive"].max() <= 1
    assert results.extras["naive"]["mapped"]


def test_the_share_of_the_reward_at_each_goal():
    stream = alicebob_agents(4, shaping=0.2)
    assert [task.train.env.shaping for task in stream] == [0.2] * 4
    assert stream.names == ["2 agents", "3 agents", "larger", "diagonals"]
    with pytest.raises(PerdureError, match=r"shaping must lie in \[0, 1\]"):
        alicebob_agents(shaping=2.0)
