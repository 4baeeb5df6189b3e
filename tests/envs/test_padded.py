"""Environments of different sizes, brought to one."""

import math
from typing import Any, cast

import pytest
import torch
from torch.distributions import Categorical
from torch.func import grad

from perdure import PerdureError, check_env
from perdure.core.random import Rng
from perdure.envs import (
    Acrobot,
    CartPole,
    Catch,
    Continuous,
    Discrete,
    GridWorld,
    MountainCar,
    Padded,
    PaddedDiscrete,
    Pendulum,
    Spread,
)
from perdure.envs.padded import of_one_size
from perdure.scenarios.rl import DQN, PPO

ZERO = torch.tensor(0)
RNG = Rng(ZERO, ZERO)
TWO = PaddedDiscrete(2, most=3)


@pytest.mark.parametrize(
    "env",
    [
        Padded(CartPole(gravity=20.0), (6,), 3),
        Padded(GridWorld(image=True, limit=5), (5, 10, 12), 5),
        Padded(Pendulum(), (4,)),
        Padded(Padded(MountainCar(), (3,)), (6,), 4),
    ],
    ids=str,
)
def test_the_contract(env):
    check_env(env, steps=30)


def test_it_is_the_environment_with_zeros_behind_its_observations():
    env = Padded(MountainCar(), (6,), 5)
    state = env.reset(RNG, 4)
    assert (env.limit, env.shape, env.actions) == (200, (6,), PaddedDiscrete(3, 5))
    assert str(env) == "padded(env=mountain-car, size=(6,), most=5)"
    seen = env.observe(state)
    assert torch.equal(seen[:, :2], MountainCar().observe(state))
    assert not seen[:, 2:].any()
    action = torch.tensor([0, 1, 2, 1])
    for mine, own in zip(env.step(state, action, RNG), MountainCar().step(state, action, RNG), strict=True):
        assert mine.keys() == own.keys() if isinstance(mine, dict) else torch.equal(mine, own)
    assert torch.equal(env.frame(state), MountainCar().frame(state))
    # Each axis is padded behind what is there.
    grid = GridWorld(image=True)
    seen = Padded(grid, (6, 10, 12)).observe(grid.reset(RNG, 2))
    assert torch.equal(seen[:, :5, :9, :9], grid.observe(grid.reset(RNG, 2)))
    assert seen.sum() == seen[:, :5, :9, :9].sum()


def test_two_of_three_actions_at_equal_logits_by_hand():
    output = torch.tensor([[1.0, 1.0, 50.0]])
    torch.testing.assert_close(TWO.entropy(output), torch.tensor([math.log(2)]))
    torch.testing.assert_close(TWO.log_prob(output, torch.tensor([1])), torch.tensor([-math.log(2)]))
    assert TWO.best(output).item() == 0
    assert (TWO.outputs, TWO.n, TWO.parts) == (3, 2, ())
    # As a model's outputs are closed to a task, the objective of a stream's widest task says the same.
    closed = torch.tensor([[1.0, 1.0, -1e9]])
    torch.testing.assert_close(Discrete(3).entropy(closed), torch.tensor([math.log(2)]))
    torch.testing.assert_close(Discrete(3).log_prob(closed, torch.tensor([1])), torch.tensor([-math.log(2)]))


def test_what_is_absent_is_never_taken_and_moves_nothing():
    output = 3 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    output[:, 2] += 9
    assert TWO.draw(output, RNG).max() == 1
    assert TWO.best(output).max() == 1
    choices, action = Categorical(logits=output[:, :2]), torch.arange(2000) % 2
    torch.testing.assert_close(TWO.log_prob(output, action), choices.log_prob(action))
    torch.testing.assert_close(TWO.entropy(output), choices.entropy())
    for f in (lambda x: TWO.log_prob(x, action).sum(), lambda x: TWO.entropy(x).sum()):
        moved = grad(f)(output)
        assert not moved[:, 2].any()
        assert moved[:, :2].any()


def test_a_number_that_is_as_near_to_one_as_can_be_takes_no_absent_action(monkeypatch):
    # Probabilities that add up to less than 1 by rounding would leave the rest to the last output.
    monkeypatch.setattr(Rng, "uniform", lambda self, name, *shape, dtype: torch.ones(shape, dtype=dtype))
    assert TWO.draw(torch.randn(100, 3), RNG).eq(1).all()


def test_outputs_of_one_size_keep_their_bits():
    output, action = torch.randn(50, 3), torch.arange(50) % 3
    for one in (Discrete(3), PaddedDiscrete(3, 3)):
        logs = output.log_softmax(-1)
        assert torch.equal(one.log_prob(output, action), logs[torch.arange(50), action])
        assert torch.equal(one.entropy(output), -(logs.exp() * logs).sum(-1))
        assert torch.equal(one.best(output), output.argmax(-1))
        assert torch.equal(one.draw(output, RNG), Discrete(3).draw(output, RNG))
    envs = {"one": CartPole(), "other": CartPole(gravity=1.0)}
    assert all(a is b for a, b in zip(of_one_size(envs).values(), envs.values(), strict=True))


def test_several_are_brought_to_the_largest():
    envs = of_one_size({"pole": CartPole(), "links": Acrobot(), "car": MountainCar()})
    assert {env.shape for env in envs.values()} == {(6,)}
    assert envs["links"] == Acrobot()
    assert envs["pole"].actions == TWO
    assert envs["car"] == Padded(MountainCar(), (6,), 3)
    assert envs["car"].actions == Discrete(3)
    # Of real numbers as actions only observations are padded.
    mixed = of_one_size({"as it is": Pendulum(), "wider": Padded(Pendulum(), (5,))})
    assert [env.shape for env in mixed.values()] == [(5,), (5,)]
    assert mixed["as it is"].actions == Continuous((-1.0,), (1.0,))


@pytest.mark.parametrize("other", [Catch(), Pendulum(), Spread()])
def test_what_cannot_be_brought_to_one_size_is_refused(other):
    with pytest.raises(PerdureError, match="task 'other': expected the observations and actions of the fi"):
        of_one_size({"pole": CartPole(), "other": other})


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Padded(CartPole(), (3,), 2), r"size must be at least \[4\], that of cartpole; found \(3,\)"),
        (lambda: Padded(CartPole(), (4, 4), 2), "size must be at least"),
        (lambda: Padded(CartPole(), cast("Any", 6), 2), r"size must be a shape, such as \(4,\); found 6"),
        (lambda: Padded(CartPole(), cast("Any", (6.5,)), 2), "a length of size must be a whole number"),
        (lambda: Padded(CartPole(), (4,), 1), "the number of outputs must be a whole number of at least 2"),
        (lambda: Padded(Pendulum(), (4,), 3), "`most` is for one of several actions; found Continuous"),
        (lambda: Padded(Spread(), (4, 9, 9), 3), "expected an environment of one agent, over tensors"),
        (lambda: PaddedDiscrete(3, 2), "the number of outputs must be a whole number of at least 3"),
    ],
)
def test_bad_sizes(make, line):
    with pytest.raises(PerdureError, match=line):
        make()


def test_objectives_of_absent_actions_alone_move_nothing_of_them():
    from perdure.core.batch import Batch

    rows = {
        "x": torch.zeros(4, 6), "y": torch.tensor([0, 1, 0, 1]), "logp": -torch.ones(4),
        "gain": torch.tensor([1.0, -1, 2, 0.5]), "value": torch.ones(4), "target": torch.ones(4),
    }  # fmt: skip
    batch = Batch(rows, ZERO, RNG)
    ppo, dqn = PPO(TWO, entropy=0.1), DQN(TWO)
    for objective, width in ((ppo, 4), (dqn, 3)):
        output = torch.randn(4, width)
        for f in (objective.loss, objective.surprise):
            moved = grad(lambda x, f=f: f(x, batch).sum())(output)
            assert not moved[:, 2].any()
            assert moved[:, :2].any()
