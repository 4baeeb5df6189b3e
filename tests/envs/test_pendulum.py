"""The pendulum, beside Gymnasium's."""

import math

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Pendulum

RNG = Rng(torch.tensor(0), torch.tensor(0))


def test_a_thousand_steps_as_gymnasium():
    ours, theirs, draws = Pendulum(), PendulumEnv(), np.random.default_rng(0)
    theirs.reset(seed=0)
    turns = 0
    for step in range(1000):
        if step % 200 == 0:
            start = draws.uniform([-math.pi, -1], [math.pi, 1])
            state, theirs.state = {"state": torch.tensor(start)[None]}, start
        # Beyond the box too: Gymnasium's action is the torque, ours a share of the largest one.
        torque = draws.uniform(-6, 6, 1)
        observed, reward, _, _, _ = theirs.step(torque)
        state, value, ended = ours.step(state, torch.tensor(torque / 2)[None], RNG)
        angle, speed = theirs.state
        found = state["state"][0].numpy()
        np.testing.assert_allclose(found, [(angle + math.pi) % (2 * math.pi) - math.pi, speed], atol=1e-9)
        exact = [math.cos(angle), math.sin(angle), speed]
        np.testing.assert_allclose(ours.observe(state)[0].numpy(), exact, atol=1e-9)
        np.testing.assert_allclose(ours.observe(state)[0].float().numpy(), observed, atol=1e-6)
        assert float(value) == pytest.approx(reward, abs=1e-9)
        assert not ended
        turns += abs(angle) > math.pi
    assert turns


def test_other_gravity_as_gymnasium():
    ours, theirs = Pendulum(gravity=1.6), PendulumEnv(g=1.6)
    theirs.state = np.array([0.7, -0.3])
    theirs.step(np.array([0.5]))
    new, _, _ = ours.step({"state": torch.tensor([[0.7, -0.3]]).double()}, torch.tensor([[0.25]]), RNG)
    np.testing.assert_allclose(new["state"][0].numpy(), theirs.state, atol=1e-12)


def test_energy_is_kept_without_torque():
    # 1/2 (m l^2 / 3) w^2 + m g l / 2 cos a, up to the error of steps of .05 s, which has no drift.
    env = Pendulum(mass=2.0, length=0.5, gravity=3.0)
    state = {"state": torch.tensor([[3.0, 0.5]]).double()}

    def energy():
        angle, speed = state["state"][0].tolist()
        return 0.5 * (2 * 0.25 / 3) * speed**2 + 2 * 3 * 0.5 / 2 * math.cos(angle)

    first, found = energy(), []
    for _ in range(200):
        state, _, _ = env.step(state, torch.zeros(1, 1), RNG)
        found.append(energy() - first)
    assert max(map(abs, found)) < 0.02


def test_a_step_by_hand():
    # 3 / (m l^2) = 3 / .5 = 6 and 3 g / (2 l) = 15: the speed changes by .05 (15 sin a + 6 u), u cut to -2.
    env = Pendulum(mass=0.5)
    new, reward, _ = env.step({"state": torch.tensor([[math.pi / 2, 1.0]])}, torch.tensor([[-9.0]]), RNG)
    speed = 1 + 0.05 * (15 - 12)
    assert new["state"][0].tolist() == pytest.approx([math.pi / 2 + 0.05 * speed, speed])
    assert float(reward) == pytest.approx(-(math.pi**2 / 4 + 0.1 + 0.004))


def test_starts_cover_what_they_should():
    angle, speed = Pendulum().reset(RNG, 4000)["state"].unbind(-1)
    assert -math.pi <= float(angle.min()) < -3.1
    assert 3.1 < float(angle.max()) < math.pi
    assert -1 <= float(speed.min()) < -0.99
    assert 0.99 < float(speed.max()) < 1


def test_tasks_of_other_torques_have_the_same_actions():
    assert Pendulum(torque=-1.0).actions == Pendulum().actions


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"gravity": -1.0}, "gravity must be positive; found -1.0"),
        ({"mass": 0.0}, "mass must be positive"),
        ({"length": 0.0}, "length must be positive"),
        ({"torque": 0.0}, "the size of `torque` must be positive"),
        ({"limit": -1}, "limit must be a whole number"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        Pendulum(**given)
