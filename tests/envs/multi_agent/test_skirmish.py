"""Small fights, counted by hand."""

import pytest
import torch

from perdure import PerdureError, check_env
from perdure.core.entities import KIND, KINDS, MORE, PLACE, PRESENT, SELF, TARGET
from perdure.core.random import Rng
from perdure.envs import Skirmish, get
from perdure.envs.multi_agent.grids import MOVES
from perdure.envs.multi_agent.skirmish import struck
from perdure.models.teams.team_net import TeamNet

RNG = Rng(torch.tensor(0), torch.tensor(0))
STOP, UP, DOWN, LEFT, RIGHT = range(5)
PAIR = Skirmish(allies=2, enemies=2, size=8, ally_health=3.0, enemy_health=2.0, sight_range=3)


def fight(ally, enemy, ours, theirs):
    """Return a state of one copy."""
    healths = {"ally_health": torch.tensor([ours]), "enemy_health": torch.tensor([theirs])}
    return {"ally": torch.tensor([ally]), "enemy": torch.tensor([enemy]), **healths}


def step(env, state, *action):
    state, reward, ended = env.step(state, torch.tensor([action]), RNG)
    return {k: v[0].tolist() for k, v in state.items()}, round(float(reward), 6), bool(ended), state


@pytest.mark.parametrize(
    "env",
    [
        Skirmish(),
        Skirmish(allies=1, enemies=4, size=4, sight_range=2),
        Skirmish(allies=2, enemies=3, ally_health=8.0, ally_damage=1.5, seats=3, slots=8, choices=6),
    ],
    ids=str,
)
def test_it_keeps_the_contract(env):
    check_env(env, steps=10)


def test_a_round_by_hand():
    state = fight([[2, 2], [4, 1]], [[2, 4], [4, 5]], [3.0, 3.0], [2.0, 2.0])
    # The first enemy is two steps from the first agent, and four or more from anyone is the second one.
    seen = PAIR.observe(state)[0]
    assert seen[..., PRESENT].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert seen[..., TARGET].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert seen[..., SELF].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert [KINDS[k] for k in seen[0, :3, KIND:PLACE].argmax(-1)] == ["agent", "agent", "enemy"]
    torch.testing.assert_close(seen[0, 0, PLACE:MORE], torch.tensor([4 / 7 - 1, 4 / 7 - 1]))
    torch.testing.assert_close(seen[0, 1, PLACE:MORE], torch.tensor([2 / 3, -1 / 3]))
    torch.testing.assert_close(seen[0, 2, PLACE:MORE], torch.tensor([0.0, 2 / 3]))
    assert seen[0, :3, MORE : MORE + 2].tolist() == [[1, 0.5], [1, 0.5], [1, pytest.approx(1 / 3)]]
    # The first attacks the first enemy; the second cannot reach the one it aims at, and stays.
    after, reward, ended, state = step(PAIR, state, 5 + 2, 5 + 3)
    assert after["ally"] == [[2, 2], [4, 1]]
    assert after["enemy_health"] == [1.0, 2.0]
    # A quarter of all health, half of the reward.
    assert (reward, ended) == (0.125, False)
    # The first enemy attacks; the second is four steps from the second agent, five from the first: it comes.
    assert after["ally_health"] == [2.0, 3.0]
    assert after["enemy"] == [[2, 4], [4, 4]]
    # The first kills; the second comes one nearer, within range of the enemy, whose nearest it is.
    after, reward, ended, state = step(PAIR, state, 5 + 2, RIGHT)
    assert (after["enemy_health"], after["ally_health"]) == ([0.0, 2.0], [2.0, 2.0])
    assert (reward, ended) == (0.125, False)
    # Whoever is dead is not there; both attack the other, which is too late for an answer.
    assert PAIR.observe(state)[0, :, 2].any() == 0
    state["ally"] = torch.tensor([[[3, 3], [4, 2]]])
    after, reward, ended, _ = step(PAIR, state, 5 + 3, 5 + 3)
    assert (after["enemy_health"], after["ally_health"]) == ([0.0, 0.0], [2.0, 2.0])
    assert (reward, ended) == (0.75, True)


def test_the_script_of_enemies():
    def after(ally, enemy, ours=(3.0, 3.0)):
        found, *_ = step(PAIR, fight(ally, enemy, list(ours), [2.0, 2.0]), STOP, STOP)
        return found["enemy"], found["ally_health"]

    # Along the longer way; rows where both are equal; of equally near ones, to the first.
    assert after([[0, 0], [7, 0]], [[1, 5], [3, 3]])[0] == [[1, 4], [2, 3]]
    assert after([[0, 3], [6, 3]], [[3, 3], [3, 7]])[0] == [[2, 3], [3, 6]]
    # Of two in range the nearest one is hit, and the first where both are as near.
    assert after([[3, 1], [3, 2]], [[3, 3], [7, 7]])[1] == [3.0, 2.0]
    assert after([[3, 2], [3, 4]], [[3, 3], [7, 7]])[1] == [2.0, 3.0]
    # The dead are left alone, and their cells are none to go to.
    assert after([[3, 2], [7, 2]], [[3, 3], [7, 7]], (0.0, 3.0)) == ([[4, 3], [7, 6]], [0.0, 3.0])


def test_dead_agents_change_nothing_whatever_they_do():
    state = fight([[3, 3], [3, 4]], [[3, 5], [4, 4]], [3.0, 0.0], [2.0, 2.0])
    tables = PAIR.observe(state)[0]
    assert not tables[1].any()
    assert tables[0, :, PRESENT].tolist() == [1, 0, 1, 1]
    found = [step(PAIR, state, 7, action)[:3] for action in range(PAIR.actions.n)]
    assert all(each == found[0] for each in found)
    assert found[0][0]["ally"][1] == [3, 4]
    # A policy of teams tells them to stop, and hears nothing of them.
    net = TeamNet(24, PAIR.moves, 16, 1, 4).eval()
    output = net(PAIR.observe(state))
    assert int(PAIR.actions.best(output[:, :-1])[0, 1]) == STOP
    moved = {**state, "ally": torch.tensor([[[3, 3], [0, 7]]])}
    assert torch.equal(net(PAIR.observe(moved)), output)


def test_a_lost_fight_ends():
    state = fight([[3, 3], [3, 4]], [[3, 5], [4, 4]], [0.0, 2.0], [1.0, 1.5])
    after, reward, ended, _ = step(PAIR, state, STOP, 5 + 2)
    assert (after["ally_health"], after["enemy_health"]) == ([0.0, 1.0], [0.0, 1.5])
    assert (reward, ended) == (0.125, False)
    state = fight([[3, 3], [3, 4]], [[3, 5], [4, 4]], [0.0, 2.0], [1.0, 1.5])
    after, reward, ended, _ = step(PAIR, state, STOP, UP)
    assert (after["ally_health"], reward, ended) == ([0.0, 0.0], 0.0, True)


def test_permuting_enemies_permutes_rows_only():
    env = Skirmish(allies=3, enemies=4)
    state, order = env.reset(RNG, 20), torch.tensor([2, 0, 3, 1])
    # Enemy k is the one that was order[k]: whoever attacks row r then attacks its new row.
    other = {k: v[:, order] if k.startswith("enemy") else v for k, v in state.items()}
    rows, first = torch.cat([torch.arange(3), 3 + order]), env.moves + env.allies
    draws = torch.Generator().manual_seed(0)
    for _ in range(env.limit):
        one, two = env.observe(state), env.observe(other)
        torch.testing.assert_close(two, one[:, :, rows])
        action = torch.randint(first + 4, (20, 3), generator=draws)
        # Often on an enemy, or there would be no fight.
        action = torch.where(one[:, :, 3, TARGET] > 0, first, action)
        on = action >= first
        same = torch.where(on, first + order.argsort()[(action - first).clamp_min(0)], action)
        state, reward, ended = env.step(state, action, RNG)
        other, also, too = env.step(other, same, RNG)
        torch.testing.assert_close(reward, also)
        assert torch.equal(ended, too)
    assert bool((state["enemy_health"] == 0).any())


def focused(env, seen, _):
    """Meet at the left of the middle rows, and attack the weakest in range."""
    target = seen[..., TARGET] > 0
    weakest = torch.where(target, seen[..., MORE], 2.0).argmin(-1)
    down, right = seen[..., 0, PLACE : PLACE + 2].unbind(-1)
    inner = 1.5 / (env.size - 1)
    home = torch.where(right > -0.99, LEFT, STOP)
    home = torch.where(down > inner, UP, torch.where(down < -inner, DOWN, home))
    return torch.where(target.any(-1), env.moves + weakest, home)


def at_random(env, seen, t):
    """Do any of what can be done."""
    able = torch.cat([torch.ones(*seen.shape[:2], env.moves), seen[..., TARGET]], -1)
    draws = torch.Generator().manual_seed(t)
    return able.flatten(0, 1).multinomial(1, generator=draws).view(seen.shape[:2])


def returns(env, policy, n=200):
    """Return the returns of episodes, and how many enemies were left."""
    state, running, total = env.reset(RNG, n), torch.ones(n, dtype=torch.bool), torch.zeros(n)
    left = torch.full((n,), env.enemies)
    for t in range(env.limit):
        state, reward, ended = env.step(state, policy(env, env.observe(state), t), RNG)
        total = total + reward * running
        left = torch.where(running, (state["enemy_health"] > 0).sum(-1), left)
        running = running & ~ended
    return total, left


@pytest.mark.parametrize(
    "env",
    [
        Skirmish(), Skirmish(allies=5, enemies=5),
        Skirmish(allies=2, ally_health=8.0, ally_damage=1.5, bonus=0.2),
    ],
    ids=str,
)  # fmt: skip
def test_focused_fire_wins_and_chance_does_not(env):
    total, left = returns(env, focused)
    won = left == 0
    assert float(won.float().mean()) > 0.8
    torch.testing.assert_close(total[won], torch.ones(int(won.sum())))
    assert total[~won].max() <= 1 - env.bonus
    total, left = returns(env, at_random)
    assert float((left == 0).float().mean()) < 0.02
    assert 0 < float(total.mean()) < 0.4


def test_starts_are_drawn_on_either_side():
    state = Skirmish(allies=4, enemies=2, size=5).reset(RNG, 500)
    assert {*state["ally"][..., 1].flatten().tolist()} == {0, 1}
    assert {*state["enemy"][..., 1].flatten().tolist()} == {3, 4}
    assert {*state["ally"][..., 0].flatten().tolist()} == {*range(5)}
    assert all(len({*map(tuple, cells)}) == 4 for cells in state["ally"].tolist())


def test_float64_goes_through():
    state = {k: v.double() if v.is_floating_point() else v for k, v in PAIR.reset(RNG, 3).items()}
    assert PAIR.observe(state).dtype == torch.float64
    assert PAIR.step(state, torch.zeros(3, 2, dtype=torch.int64), RNG)[1].dtype == torch.float64


def test_the_picture():
    alive = fight([[1, 1], [6, 6]], [[1, 6], [6, 1]], [3.0, 3.0], [2.0, 2.0])
    dead = fight([[1, 1], [6, 6]], [[1, 6], [6, 1]], [3.0, 0.0], [2.0, 0.0])
    frame, fewer = PAIR.frame(alive)[0], PAIR.frame(dead)[0]
    assert frame.shape == (96, 96, 3)
    colours = [
        [tuple(f[y, x].tolist()) for y, x in [(18, 18), (78, 78), (18, 78), (78, 18)]] for f in (frame, fewer)
    ]
    assert colours[0] == [(60, 100, 180)] * 2 + [(205, 70, 70)] * 2
    assert colours[1] == [(60, 100, 180), (255,) * 3, (205, 70, 70), (255,) * 3]


def test_a_name_builds_it_again():
    env = get("skirmish(allies=2, enemies=5, ally_damage=2.0)")
    assert get(repr(env)) == env
    assert env.shape == (2, 7, 24)
    assert env.actions.n == 5 + 7


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"allies": 9}, "allies must be a whole number of at most 8"),
        ({"enemies": 0}, "enemies must be a whole number of at least 1"),
        ({"size": 10**9}, "size must be a whole number of at most 1,000"),
        ({"size": 3}, "size must be a whole number of at least 4"),
        ({"ally_health": 0.0}, "ally_health must be positive"),
        ({"enemy_damage": -1.0}, "enemy_damage must be positive"),
        ({"attack_range": 6}, "attack_range must be at most sight_range=5; found 6"),
        ({"sight_range": 0}, "sight_range must be a whole number of at least 1"),
        ({"bonus": 1.5}, r"bonus must lie in \[0, 1\]"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        Skirmish(**given)


@pytest.mark.parametrize(
    ("full", "damage", "hits"),
    [
        (0.3, 0.1, 3), (1.0, 0.1, 10), (5.0, 0.1, 50), (8.0, 1.6, 5), (0.6, 0.2, 3), (1.2, 0.4, 3),
        (5.0, 0.7, 8), (5.0, 1.0, 5), (4.0, 3.0, 2), (1.0, 7.0, 1),
    ],
)  # fmt: skip
def test_rounding_keeps_nobody_alive(full, damage, hits):
    for at_once in (1, 3):
        health, counted = torch.full((1, 1), full), 0
        while health > 0:
            health = struck(health, full, damage, torch.full((1, 1), at_once))
            counted += 1
        assert counted == -(-hits // at_once)


def test_a_fight_of_tenths_by_hand():
    env = Skirmish(
        allies=1, enemies=1, ally_damage=0.1, enemy_health=0.3, enemy_damage=1e-3, attack_range=20,
        sight_range=20,
    )  # fmt: skip
    state, told = env.reset(RNG, 1), []
    for _ in range(3):
        *_, reward, ended, state = step(env, state, MOVES + 1)
        told.append((reward, ended))
    assert told == [(pytest.approx(1 / 6, abs=1e-5), False)] * 2 + [
        (pytest.approx(1 / 6 + 0.5, abs=1e-5), True)
    ]
