"""The arm, by hand."""

import math

import pytest
import torch

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Reacher

RNG = Rng(torch.tensor(0), torch.tensor(0))


def test_a_step_by_hand():
    # Stretched along x with links of 1 and 2, at rest. Actions of 1 and -3, cut to -1, give speeds of
    # .05 * 8 = .4 and -.4, angles of .02 and -.02: the second link stays parallel to x.
    env = Reacher(1.0, 2.0, torque=8.0, cost=0.5)
    state = {"state": torch.zeros(1, 4).double(), "target": torch.tensor([[2.0, 1.0]]).double()}
    new, reward, ended = env.step(state, torch.tensor([[1.0, -3.0]]), RNG)
    assert new["state"][0].tolist() == pytest.approx([0.02, -0.02, 0.4, -0.4])
    x, y = math.cos(0.02) + 2 - 2, math.sin(0.02) - 1
    assert float(reward) == pytest.approx(-math.hypot(x, y) - 0.5 * 2)
    assert not ended
    expected = [math.cos(0.02), math.sin(0.02), math.cos(0.02), -math.sin(0.02), 0.4, -0.4, 2, 1, x, y]
    assert env.observe(new)[0].tolist() == pytest.approx(expected)


def test_damping_takes_a_share_of_the_speed():
    # Without torque a speed of 3 is 3 (1 - .05 * 4)^k after k steps; the energy falls with its square.
    env = Reacher(damping=4.0)
    state = {"state": torch.tensor([[0.0, 0.0, 3.0, -1.0]]).double(), "target": torch.zeros(1, 2).double()}
    for _ in range(10):
        state, _, _ = env.step(state, torch.zeros(1, 2), RNG)
    assert state["state"][0, 2:].tolist() == pytest.approx([3 * 0.8**10, -(0.8**10)])
    kept, _, _ = Reacher(damping=0.0).step(state, torch.zeros(1, 2), RNG)
    assert torch.equal(kept["state"][:, 2:], state["state"][:, 2:])


def test_targets():
    drawn = Reacher(1.0, 0.5).reset(RNG, 4000)["target"]
    radius = drawn.norm(dim=1)
    assert 0.5 <= float(radius.min()) < 0.51
    assert 1.49 < float(radius.max()) <= 1.5 + 1e-6
    # Even over the area: the mean of the squared radius is halfway between those of the edges.
    assert float(radius.square().mean()) == pytest.approx((0.25 + 2.25) / 2, rel=0.02)
    assert drawn.mean(0).abs().max() < 0.05
    fixed = Reacher(target=(0.3, -0.4)).reset(RNG, 2)["target"]
    assert torch.equal(fixed, torch.tensor([[0.3, -0.4]] * 2))


def test_an_arm_can_be_led_to_its_target():
    # Torques towards the angles of a target straight above the shoulder, and against the speeds.
    env, target = Reacher(target=(0.0, 1.0)), torch.tensor([math.pi / 2, 0.0])
    state, total = env.reset(RNG, 4), 0.0
    for _ in range(env.limit):
        angles, speeds = state["state"].split(2, 1)
        state, reward, _ = env.step(state, 4 * (target - angles) - 1.2 * speeds, RNG)
        total += float(reward.mean())
    assert (env.observe(state)[:, -2:].abs() < 0.05).all()
    assert total > -25


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"length_1": 0.0}, "length_1 must be positive; found 0"),
        ({"torque": 0.0}, "the size of `torque` must be positive"),
        ({"damping": 21.0}, r"damping must lie in \[0, 20\]; found 21"),
        ({"cost": -0.1}, "cost must be at least 0"),
        ({"target": (1.0, 1.0)}, r"target must be 0 to 1 from the shoulder, in reach; found \(1.0, 1.0\)"),
        ({"target": (0.1, 0.0), "length_1": 0.7}, "target must be 0.2 to 1.2"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        Reacher(**given)
