"""Streams of Gymnasium's environments."""

from importlib.util import find_spec

import pytest

from perdure import PerdureError, compare
from perdure.scenarios import check_stream, get, gymnasium_ids
from perdure.scenarios.rl import HostRollouts
from tests.envs.hosted_worlds import register, twice

register()
LINE = "tests/Line-v0"


def test_the_contract_and_what_a_stream_says():
    stream = get("gymnasium(ids=['CartPole-v1'], physics=[{}, {gravity: 20.0}], limit=60, steps=512)")
    check_stream(stream)
    assert stream.names == ["CartPole-v1", "CartPole-v1(gravity=20.0)"]
    assert isinstance(stream[0].train, HostRollouts)
    assert (stream[0].train.limit, stream.input_shape, stream.outputs) == (60, (4,), 3)
    assert "stepped on the host" in stream.notes[0]
    results = compare(stream, "naive", seeds=1, epochs=1, quiet=True)
    assert stream.notes[0] in results.warnings
    # What is done makes the fingerprint, whoever made it.
    physics = [{}, {"gravity": 20.0}]
    assert stream.fingerprint() == gymnasium_ids(["CartPole-v1"], physics=physics, limit=60).fingerprint()
    assert stream.fingerprint() != gymnasium_ids(["CartPole-v1"], physics=physics).fingerprint()


def test_tasks_may_differ_by_id_by_options_and_by_wrapper():
    stream = gymnasium_ids(
        [LINE] * 2, [{"end": 3}, {"end": 5}], names=["near", "far"], wrapper=twice, setting="task"
    )
    check_stream(stream)
    assert stream.names == ["near", "far"]
    assert stream.input_shape == (2,)
    assert stream[1].train.env.wrapper == "tests.envs.hosted_worlds:twice"
    assert stream[1].outputs == (3, 4, 5)
    assert get("gymnasium(ids=[perdure/CartPole-v0, CartPole-v1])").names[0] == "perdure/CartPole-v0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ids": []}, "at least one environment"),
        ({"ids": ["CartPol-v1"], "limit": 5}, "Gymnasium has no environment 'CartPol-v1'"),
        (
            {"ids": ["CartPole-v1", "Pendulum-v1"]},
            "expected the first task's observations Box[4] and",
        ),
        (
            {"ids": [LINE, "tests/Noise-v0"]},
            "Discrete(n=2), or other numbers of observations in a row and of discrete actions; found "
            "observations Box[2, 3] and",
        ),
        ({"ids": [LINE] * 2}, "names of tasks must differ"),
        ({"ids": [LINE] * 2, "physics": [{}]}, "physics must have one entry for each of 2 tasks; found 1"),
        ({"ids": [LINE], "options": [{"end": object()}]}, "end must be numbers, words, or lists"),
        ({"ids": [LINE], "wrapper": lambda env: env}, "must be a function or class of a module"),
        ({"ids": [LINE], "physics": [{"end": "far"}]}, "physics must be a list of tables"),
        ({"ids": [LINE], "copies": 0}, "must be a whole number"),
        ({"ids": [LINE], "discount": 2.0}, "discount must lie in [0, 1]"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments, said):
    with pytest.raises(PerdureError) as refused:
        gymnasium_ids(**arguments)
    assert said in str(refused.value), str(refused.value)


@pytest.mark.parametrize(("name", "package"), [("minigrid-five", "minigrid"), ("mujoco-gravity", "mujoco")])
def test_ready_streams_keep_the_contract_and_run(name, package):
    if find_spec(package) is None:
        with pytest.raises(PerdureError, match=r"perdure\[minigrid\]|\(minigrid, mujoco\)"):
            get(name)
        pytest.skip(f"the extra `{package}` is not installed")
    stream = get(f"{name}(tasks=2, steps=1, episodes=2)")
    check_stream(stream)
    results = compare(stream, "naive", seeds=2, epochs=1, quiet=True)
    assert results.scores["naive"].shape == (2, 2, 2)
    assert results.extras["naive"]["mapped"]
    with pytest.raises(PerdureError, match="tasks must be a whole number of at most"):
        get(f"{name}(tasks=9)")


def test_gravity_is_that_of_the_task():
    pytest.importorskip("mujoco", reason="the extra `mujoco` is not installed")
    stream = get("mujoco-gravity(tasks=3)")
    found = [task.train.env.make().unwrapped.model.opt.gravity[2] for task in stream]
    assert found == [-9.81, -1.62, -19.62]
