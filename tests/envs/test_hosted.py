"""Environments of Gymnasium's as the policy sees them, and their copies on the host."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from perdure import PerdureError
from perdure.envs import Continuous, Discrete
from perdure.envs.host_parts import steps_in
from perdure.envs.hosted import Hosted
from tests.envs.hosted_worlds import register

register()
LINE, NOISE = "tests/Line-v0", "tests/Noise-v0"


def test_spaces_become_those_of_a_policy():
    pole, swing = Hosted("CartPole-v1"), Hosted("Pendulum-v1")
    assert (pole.shape, pole.actions) == ((4,), Discrete(2))
    assert (swing.shape, swing.actions) == ((3,), Continuous((-2.0,), (2.0,)))
    assert swing.bounds[1].tolist() == [1, 1, 8]
    lake = Hosted("FrozenLake-v1", scale=2.0)
    assert (lake.shape, lake.actions) == ((16,), Discrete(4))
    assert lake.flat(3).tolist() == [0, 0, 0, 2] + [0] * 12
    assert lake.form == "observations Discrete(16) and actions Discrete(n=4)"
    assert Hosted(NOISE, wrapper="gymnasium.wrappers:FlattenObservation").form.startswith(
        "observations Box[6]"
    )
    later = Hosted(NOISE, options=(("seen", spaces.Discrete(3, start=5)),))
    assert later.flat(6).tolist() == [0, 1, 0]


def test_rows_of_actions_become_what_the_environment_takes():
    noise = Hosted(NOISE)
    assert (noise.shape, noise.actions) == ((6,), Continuous((-1.0, -1.0), (1.0, 2.0)))
    taken = noise.undone(np.array([-3.0, 3.0], dtype=np.float32))
    assert taken.tolist() == [[-1, 2]]
    assert taken.dtype == np.float64
    # A policy that has diverged answers NaN.
    assert noise.undone(np.array([np.nan, np.inf], dtype=np.float32)).tolist() == [[0, 2]]
    assert Hosted(LINE, options=(("first", -1),)).undone(np.int64(0)) == -1


def test_physics_are_set_and_options_given():
    env = Hosted(LINE, options=(("end", 5),), physics=(("rate", (1.0, 4.0)),)).make().unwrapped
    assert env.end == 5
    assert env.rate.tolist() == [1, 4]
    heavy = Hosted("CartPole-v1", physics=(("gravity", 20.0),))
    heavy.check()
    usual, other = (one.copies([7]) for one in (Hosted("CartPole-v1"), heavy))
    np.testing.assert_array_equal(usual.seen, other.seen)
    for copies in (usual, other):
        copies.step(np.array([1]), np.array([True]))
        copies.step(np.array([1]), np.array([True]))
    assert not np.allclose(usual.seen, other.seen)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": (("wrong", 1),)}, "cannot make 'tests/Noise-v0': TypeError"),
        ({"physics": (("levels", 1.0),)}, "no attribute 'levels' to set: Noise lacks 'levels'"),
        ({"physics": (("level.far", 1.0),)}, "float lacks 'far'"),
        ({"physics": (("level", (1.0, 2.0)),)}, "level must be a number; found"),
        ({"physics": (("action_space", 1.0),)}, "action_space must be no Box there"),
        ({"physics": (("level", 2.0),), "options": (("fresh", True),)}, "must keep level = 2.0 when"),
        ({"options": (("own", False),)}, "draws from elsewhere than its `np_random`"),
        ({"options": (("seen", spaces.Dict({"a": spaces.Discrete(2)})),)}, "found Dict of a: give a wrapper"),
        ({"options": (("seen", spaces.Text(3)),)}, "found Text: give a wrapper"),
        ({"options": (("done", spaces.MultiDiscrete([2, 2])),)}, "needs actions Discrete or Box"),
        ({"options": (("done", spaces.Box(0, 3, (2,), np.int64)),)}, "Box of real numbers; found Box"),
        ({"options": (("seen", spaces.Box(0, 1, (0,))),)}, "found Box: give a wrapper"),
        ({"options": (("nothing", True),)}, "must show finite observations"),
        ({"wrapper": "nowhere:Wrapper"}, "expected a wrapper 'module:name'; found 'nowhere:Wrapper'"),
        ({"wrapper": "gymnasium:__version__"}, "cannot be called"),
        ({"wrapper": "gymnasium.wrappers:ResizeObservation"}, "cannot wrap tests/Noise-v0"),
        ({"scale": 0.0}, "scale must be positive; found 0.0"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, said):
    with pytest.raises(PerdureError) as refused:
        Hosted(NOISE, **changes).check()
    assert said in str(refused.value), str(refused.value)
    assert "\n" not in str(refused.value)


def test_ids_have_limits_or_are_refused():
    assert (steps_in("CartPole-v1"), steps_in(LINE)) == (500, 1000)
    with pytest.raises(PerdureError, match=r"Did you mean: `CartPole`\?"):
        steps_in("CartPol-v1")
    with pytest.raises(PerdureError, match="written 'package:id'"):
        steps_in("Elsewhere-v1")
    with pytest.raises(PerdureError, match="needs the package nowhere: No module"):
        steps_in("nowhere:Elsewhere-v1")
    with pytest.raises(PerdureError, match="must be a whole number"):
        Hosted(LINE, limit=0)


def test_copies_stand_still_begin_anew_and_are_cut_off():
    copies = Hosted(LINE, limit=2).copies([1, 2, 3])
    going = np.array([True, True, False])
    row = copies.step(np.array([1, 0, 1]), going)
    assert row["after"].ravel().tolist() == copies.seen.ravel().tolist() == [1, 0, 0]
    assert row["reward"].tolist() == [1, 0, 0]
    row = copies.step(np.array([1, 1, 1]), going)
    assert (row["ended"].tolist(), row["over"].tolist()) == ([False] * 3, [True, True, False])
    copies.restart(row["over"])
    assert copies.seen.ravel().tolist() == [0, 0, 0]
    assert row["after"].ravel().tolist() == [2, 1, 0]


def test_a_copy_is_decided_by_its_seed():
    env = Hosted("CartPole-v1")
    both, alone, other = env.copies([4, 5]), env.copies([5]), env.copies([6])
    np.testing.assert_array_equal(both.seen[1:], alone.seen)
    assert not np.allclose(alone.seen, other.seen)
    both.restart(np.ones(2, dtype=bool))
    alone.restart(np.ones(1, dtype=bool))
    np.testing.assert_array_equal(both.seen[1:], alone.seen)
    same = gymnasium.make("CartPole-v1")
    same.reset(seed=5)
    np.testing.assert_array_equal(same.reset()[0], alone.seen[0])


def test_tensors_cannot_step_it():
    with pytest.raises(PerdureError, match="CartPole-v1 is stepped on the host"):
        Hosted("CartPole-v1").step({}, torch.zeros(1), None)
