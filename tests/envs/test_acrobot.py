"""The two links, beside Gymnasium's."""

import math

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import AcrobotEnv

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Acrobot

RNG = Rng(torch.tensor(0), torch.tensor(0))


def test_a_thousand_steps_as_gymnasium():
    # Each step begins at one state: the motion is chaotic, and the last digits would decide the end.
    theirs, draws = AcrobotEnv(), np.random.default_rng(0)
    theirs.reset(seed=0)
    rows, ended = [], True
    for _ in range(1000):
        start = theirs.state = draws.uniform(-0.1, 0.1, 4) if ended else theirs.state
        # Against the speed of the upper link, which swings up.
        action = int(start[2] < 0) * 2 if draws.random() < 0.8 else int(draws.integers(3))
        observed, reward, ended, _, _ = theirs.step(action)
        rows.append((start, action, theirs.state, observed, reward, ended))
    start, action, state, observed, reward, ended = map(np.array, zip(*rows, strict=True))
    new, value, end = Acrobot().step({"state": torch.tensor(start)}, torch.tensor(action), RNG)
    gap = new["state"].numpy() - state
    gap[:, :2] = (gap[:, :2] + math.pi) % (2 * math.pi) - math.pi
    np.testing.assert_allclose(gap, 0, atol=1e-9)
    np.testing.assert_allclose(Acrobot().observe(new).float().numpy(), observed, rtol=3e-7, atol=1e-7)
    assert (value.tolist(), end.tolist()) == (reward.tolist(), ended.tolist())
    assert ended.sum() > 3
    assert (abs(state[:, :2] - start[:, :2]) > 4).sum() > 3, "no angle was wrapped"


def test_other_physics_as_gymnasium():
    class Other(AcrobotEnv):
        LINK_LENGTH_1, LINK_LENGTH_2, LINK_COM_POS_1, LINK_COM_POS_2 = 1.4, 0.6, 0.7, 0.3
        LINK_MASS_1, LINK_MASS_2, LINK_MOI = 0.8, 1.7, 0.5
        AVAIL_TORQUE = (1.5, 0.0, -1.5)

    env = Acrobot(mass_1=0.8, mass_2=1.7, length_1=1.4, length_2=0.6, inertia=0.5, torque=-1.5)
    theirs, state = Other(), torch.tensor([[0.4, -1.1, 0.8, 2.0]]).double()
    theirs.state = state[0].numpy()
    theirs.step(0)
    new, _, _ = env.step({"state": state}, torch.tensor([0]), RNG)
    np.testing.assert_allclose(new["state"][0].numpy(), theirs.state, atol=1e-9)


def test_hanging_still_is_a_rest_and_costs_1():
    new, reward, ended = Acrobot().step({"state": torch.zeros(1, 4)}, torch.tensor([1]), RNG)
    assert not new["state"].any()
    assert (float(reward), bool(ended)) == (-1, False)


def test_the_end_is_above_half_of_the_whole_length():
    # Upright but for .01, links of 2 and .8 are higher than 1.4; with the lower one folded back, at 1.2.
    state = torch.tensor([[math.pi - 0.01, 0.0, 0.0, 0.0], [math.pi - 0.01, math.pi, 0.0, 0.0]])
    env = Acrobot(length_1=2.0, length_2=0.8, gravity=1e-3)
    _, reward, ended = env.step({"state": state}, torch.tensor([1, 1]), RNG)
    assert ended.tolist() == [True, False]
    assert reward.tolist() == [0, -1]


def test_swapping_mirrors():
    state = torch.tensor([[0.3, -0.2, 0.1, 0.4]])
    one, _, _ = Acrobot().step({"state": state}, torch.tensor([2]), RNG)
    other, _, _ = Acrobot(torque=-1.0).step({"state": -state}, torch.tensor([2]), RNG)
    torch.testing.assert_close(one["state"], -other["state"])


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"gravity": 0.0}, "gravity must be positive; found 0.0"),
        ({"mass_2": 0.0}, "mass_2 must be positive"),
        ({"length_1": -1.0}, "length_1 must be positive"),
        ({"inertia": 0.0}, "inertia must be positive"),
        ({"torque": 0.0}, "the size of `torque` must be positive"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        Acrobot(**given)
