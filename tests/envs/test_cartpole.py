"""The pole on a cart, beside Gymnasium's."""

import math

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import CartPole

RNG = Rng(torch.tensor(0), torch.tensor(0))


def test_a_thousand_steps_as_gymnasium():
    ours, theirs, draws = CartPole(), CartPoleEnv(), np.random.default_rng(0)
    theirs.reset(seed=0)
    state, ends = None, 0
    for _ in range(1000):
        if state is None:
            start = draws.uniform(-0.05, 0.05, 4)
            state, theirs.state, theirs.steps_beyond_terminated = torch.tensor(start)[None], start, None
        action = int(draws.integers(2))
        observed, reward, ended, _, _ = theirs.step(action)
        new, value, end = ours.step({"state": state}, torch.tensor([action]), RNG)
        np.testing.assert_allclose(new["state"][0].numpy(), theirs.state, rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours.observe(new)[0].float().numpy(), observed, rtol=3e-7)
        assert (float(value), bool(end)) == (reward, ended)
        state, ends = (None if ended else new["state"]), ends + ended
    assert ends > 20


def test_at_rest_by_hand():
    # Masses of 1 and .1, no angle, no speed: the push of 10 N gives 10 / 1.1 to the cart before the pole
    # takes its part: turning = -(10 / 1.1) / (.5 (4/3 - .1 / 1.1)).
    new, reward, ended = CartPole().step({"state": torch.zeros(1, 4).double()}, torch.tensor([1]), RNG)
    turning = -(10 / 1.1) / (0.5 * (4 / 3 - 0.1 / 1.1))
    moving = 10 / 1.1 - 0.05 / 1.1 * turning
    assert new["state"][0].tolist() == pytest.approx([0, 0.02 * moving, 0, 0.02 * turning])
    assert (float(reward), bool(ended)) == (1, False)


def test_swapping_mirrors():
    state, mirrored = torch.tensor([[0.3, -0.2, 0.1, 0.4]]), -torch.tensor([[0.3, -0.2, 0.1, 0.4]])
    one, _, _ = CartPole(force=7.0).step({"state": state}, torch.tensor([1]), RNG)
    other, _, _ = CartPole(force=-7.0).step({"state": mirrored}, torch.tensor([1]), RNG)
    torch.testing.assert_close(one["state"], -other["state"])


def test_the_picture_shows_where_the_pole_leans():
    state = torch.tensor([[0.0, 0.0, 0.2, 0.0], [0.0, 0.0, -0.2, 0.0]])
    right, left = CartPole().frame({"state": state}).int()
    assert torch.equal(right.flip(1), left)
    assert not torch.equal(right, left)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"gravity": 0.0}, "gravity must be positive; found 0.0"),
        ({"cart": -1.0}, "cart must be positive"),
        ({"half": 0}, "half must be positive"),
        ({"force": 0.0}, "the size of `force` must be positive"),
        ({"pole": math.inf}, "pole must be a finite number"),
        ({"limit": 0}, "limit must be a whole number"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        CartPole(**given)
