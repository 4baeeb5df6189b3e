"""The car in the valley, beside Gymnasium's."""

import math

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import MountainCarEnv

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import MountainCar

RNG = Rng(torch.tensor(0), torch.tensor(0))


def test_a_thousand_steps_as_gymnasium():
    ours, theirs, draws = MountainCar(), MountainCarEnv(), np.random.default_rng(0)
    theirs.reset(seed=0)
    state, ends, walls = None, 0, 0
    for _ in range(1000):
        if state is None:
            start = np.array([draws.uniform(-0.6, -0.4), 0.0])
            state, theirs.state = torch.tensor(start)[None], start
        # With the speed, which rocks up the hill.
        action = int(theirs.state[1] >= 0) * 2 if draws.random() < 0.9 else int(draws.integers(3))
        observed, reward, ended, _, _ = theirs.step(action)
        new, value, end = ours.step({"state": state}, torch.tensor([action]), RNG)
        np.testing.assert_allclose(new["state"][0].numpy(), theirs.state, rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours.observe(new)[0].float().numpy(), observed, rtol=3e-7, atol=1e-9)
        assert (float(value), bool(end)) == (reward, ended)
        state = None if ended else new["state"]
        ends, walls = ends + ended, walls + (theirs.state[0] == -1.2)
    assert ends > 3
    assert walls > 3


def test_the_left_end_stops_the_car():
    # At -1.19 with the largest speed to the left: both are cut, in float32 too.
    for kind in (torch.float32, torch.float64):
        state = {"state": torch.tensor([[-1.19, -0.07]], dtype=kind)}
        new, reward, ended = MountainCar().step(state, torch.tensor([0]), RNG)
        assert new["state"][0].tolist() == pytest.approx([-1.2, 0])
        assert float(new["state"][0, 1]) == 0
        assert (float(reward), bool(ended)) == (-1, False)


def test_a_step_by_hand():
    new, _, ended = MountainCar(force=-0.003, gravity=0.002, goal=-0.3).step(
        {"state": torch.tensor([[-0.31, 0.02]]).double()}, torch.tensor([0]), RNG
    )
    speed = 0.02 + 0.003 - 0.002 * math.cos(-0.93)
    assert new["state"][0].tolist() == pytest.approx([-0.31 + speed, speed])
    assert bool(ended)


def test_beyond_the_goal_and_on_the_way_back_is_no_end():
    _, _, ended = MountainCar().step({"state": torch.tensor([[0.58, -0.03]])}, torch.tensor([1]), RNG)
    assert not ended


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"force": 0.0}, "the size of `force` must be positive; found 0"),
        ({"gravity": 0.0}, "gravity must be positive"),
        ({"goal": -0.5}, r"goal must lie in \(-0.4, 0.6\]; found -0.5"),
        ({"goal": 0.7}, "goal must lie in"),
        ({"limit": 0}, "limit must be a whole number"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        MountainCar(**given)
