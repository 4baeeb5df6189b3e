"""Streams whose physics drift in small steps."""

from itertools import pairwise

import pytest

from perdure import PerdureError
from perdure.envs import CartPole, Pendulum
from perdure.scenarios import cartpole_drift, check_stream, get, pendulum_drift
from perdure.scenarios.generators.drift import between


def envs(stream):
    return [task.train.env for task in stream]


def test_the_way_by_hand():
    stream = cartpole_drift(5, steps=1)
    check_stream(stream)
    # From 0.1 kg and half a length of 0.5 m to 1 kg and 1 m, in quarters.
    found = [(env.pole, env.half) for env in envs(stream)]
    assert found == [
        pytest.approx(one) for one in [(0.1, 0.5), (0.325, 0.625), (0.55, 0.75), (0.775, 0.875), (1, 1)]
    ]
    assert {(env.gravity, env.force, env.cart) for env in envs(stream)} == {(9.8, 10.0, 1.0)}
    assert stream.names == ["0%", "25%", "50%", "75%", "100%"]
    # Ends are what they are, not what rounding makes of them.
    assert envs(stream)[0] == CartPole()
    assert envs(stream)[-1] == CartPole(pole=1.0, half=1.0)


@pytest.mark.parametrize("make", [cartpole_drift, pendulum_drift])
def test_twenty_tasks_unless_a_path_says_otherwise(make):
    stream = make(steps=1)
    check_stream(stream)
    assert len(stream) == len({*stream.names}) == 20
    assert len({*map(str, envs(stream))}) == 20
    # All steps are of one width.
    lengths = [env.gravity + getattr(env, "pole", 0) for env in envs(stream)]
    steps = [b - a for a, b in pairwise(lengths)]
    assert steps == [pytest.approx(steps[0])] * 19
    assert len(make(path=[0.0, 0.5, 0.25], steps=1)) == 3


def test_there_and_back_comes_past_the_same_physics():
    for tasks in (4, 5, 20, 21):
        found = envs(pendulum_drift(tasks, there_and_back=True, steps=1))
        assert found == found[::-1]
        assert found[0] == Pendulum()
        assert Pendulum(gravity=2.0) in found
    names = get("cartpole-drift(tasks=5, there_and_back=true)").names
    assert names == ["0%", "50%", "100%", "50% (again)", "0% (again)"]


def test_a_path_says_the_share_of_each_task():
    stream = cartpole_drift(start="weak", end="usual", path=[0, 1, 0.001, 0.0015, 1, 1], steps=1)
    check_stream(stream)
    assert [env.force for env in envs(stream)] == pytest.approx([4, 10, 4.006, 4.009, 10, 10])
    assert stream.names == ["0.00%", "100.00%", "0.10%", "0.15%", "100.00% (again)", "100.00% (again 2)"]


def test_between_two_environments():
    one, other = CartPole(gravity=2.0), CartPole(gravity=4.0, force=-10.0)
    assert between(one, other, 0.0) == one
    assert between(one, other, 1.0) == other
    assert between(one, other, 0.25) == CartPole(gravity=2.5, force=5.0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"tasks": 1}, "`tasks` must be a whole number of at least 2; found 1"),
        ({"tasks": 3, "there_and_back": True}, "`tasks` must be a whole number of at least 4; found 3"),
        ({"path": [0.0, 1.5]}, "a share of `path` must lie in"),
        ({"path": []}, "`path` must have a share for each task; found 0 shares"),
        ({"path": [0.5], "tasks": 2}, "found 1 shares, tasks=2"),
        ({"path": [0.5], "there_and_back": True}, "leave `there_and_back` out"),
        ({"start": "mars"}, "start must be one of usual, .*, moon; found 'mars'"),
        ({"end": "usual"}, "start and end both 'usual'"),
        ({"tasks": 3, "end": "swapped"}, "the size of `force` must be positive"),
    ],
)
def test_what_is_no_way_is_refused(arguments, line):
    with pytest.raises(PerdureError, match=line):
        cartpole_drift(**arguments)
