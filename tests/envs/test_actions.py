"""What a policy's outputs say of a team's actions, against torch's distributions and by hand.

Those of one agent are tested where policies learn, in ``tests/scenarios/test_rl.py``.
"""

import math

import pytest
import torch
from torch.distributions import Categorical
from torch.func import grad, vmap

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Discrete, Team

RNG = Rng(torch.tensor(3), torch.tensor(4))
TEAM = Team(3, 4)


def outputs(n, dtype=torch.float32):
    """Logits, part of a wider tensor as those of a policy with a value are."""
    draws = torch.Generator().manual_seed(0)
    return (2 * torch.randn(n, TEAM.outputs + 1, generator=draws, dtype=dtype))[:, :-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_agent_has_a_categorical_of_its_own(dtype):
    output, action = outputs(50, dtype), torch.arange(150).view(50, 3) % 4
    choices = Categorical(logits=output.reshape(50, 3, 4))
    for mine, theirs in (
        (TEAM.log_probs(output, action), choices.log_prob(action)),
        (TEAM.log_prob(output, action), choices.log_prob(action).sum(-1)),
        (TEAM.entropies(output), choices.entropy()),
        (TEAM.entropy(output), choices.entropy().sum(-1)),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, theirs)
    assert torch.equal(TEAM.best(output), choices.mode)
    assert TEAM.best(output).shape == (50, 3)


def test_by_hand():
    # Two agents, three actions: .5 .25 .25, and as good as certain of the last.
    team = Team(2, 3)
    assert (team.outputs, team.parts, team.each) == (6, (2,), Discrete(3))
    output = torch.tensor([[2.0, 1.0, 1.0, 0.0, 0.0, 1e9]])
    output[0, :3] = output[0, :3].log()
    assert team.logits(output).tolist() == [output.view(2, 3).tolist()]
    action = torch.tensor([[1, 2]])
    torch.testing.assert_close(team.log_probs(output, action), torch.tensor([[-math.log(4), 0.0]]))
    torch.testing.assert_close(team.log_prob(output, action), torch.tensor([-math.log(4)]))
    # 1/2 log 2 + 2 * 1/4 log 4 = 1.5 log 2
    torch.testing.assert_close(team.entropies(output), torch.tensor([[1.5 * math.log(2), 0.0]]))
    torch.testing.assert_close(team.entropy(output), torch.tensor([1.5 * math.log(2)]))
    assert team.best(output).tolist() == [[0, 2]]
    assert team.draw(output.expand(500, -1), RNG)[:, 1].eq(2).all()


def test_they_are_drawn_as_likely_as_they_are_each_by_itself():
    n = 20_000
    output = outputs(1).expand(n, -1)
    drawn = TEAM.draw(output, RNG)
    assert drawn.shape == (n, 3)
    assert drawn.dtype == torch.int64
    shares = output[0].view(3, 4).softmax(-1)
    for i in range(3):
        found = torch.bincount(drawn[:, i], minlength=4) / n
        assert float((found - shares[i]).abs().max()) < 0.015
    both = torch.bincount(4 * drawn[:, 0] + drawn[:, 1], minlength=16).view(4, 4) / n
    assert float((both - torch.outer(shares[0], shares[1])).abs().max()) < 0.015
    assert torch.equal(TEAM.draw(output, RNG), drawn)
    assert not torch.equal(TEAM.draw(output, Rng(RNG.seed, RNG.step + 1)), drawn)


def test_a_team_of_one_is_one():
    one, alone, output = Team(1, 5), Discrete(5), torch.randn(40, 5)
    action = alone.draw(output, RNG)
    assert torch.equal(one.draw(output, RNG)[:, 0], action)
    assert torch.equal(one.best(output)[:, 0], alone.best(output))
    torch.testing.assert_close(one.log_prob(output, action.unsqueeze(1)), alone.log_prob(output, action))
    torch.testing.assert_close(one.entropy(output), alone.entropy(output))


def test_what_an_agent_does_moves_its_own_outputs_only():
    output, action = outputs(1), torch.tensor([[1, 3, 0]])
    for i in range(3):
        moved = grad(lambda x, i=i: TEAM.log_probs(x, action)[0, i])(output)[0].view(3, 4)
        # The gradient of a log probability is one-hot minus the probabilities.
        expected = torch.zeros(3, 4)
        expected[i] = -output[0].view(3, 4)[i].softmax(-1)
        expected[i, action[0, i]] += 1
        torch.testing.assert_close(moved, expected)


def test_they_are_mapped_over_replicas():
    output, seeds = outputs(12).reshape(3, 4, -1), torch.arange(3)

    def act(seed, output):
        action = TEAM.draw(output, Rng(seed, torch.tensor(0)))
        return action, TEAM.best(output), TEAM.log_probs(output, action), TEAM.entropies(output)

    for i, found in enumerate(zip(*vmap(act)(seeds, output), strict=True)):
        for mine, alone in zip(found, act(seeds[i], output[i]), strict=True):
            torch.testing.assert_close(mine, alone)


@pytest.mark.parametrize(
    ("agents", "n", "line"),
    [
        (0, 3, "the number of agents must be a whole number of at least 1; found 0"),
        (2, 1, "the number of actions must be a whole number of at least 2; found 1"),
        (1.5, 3, "the number of agents must be a whole number"),
    ],
)
def test_teams_that_are_none_are_refused(agents, n, line):
    with pytest.raises(PerdureError, match=line):
        Team(agents, n)
