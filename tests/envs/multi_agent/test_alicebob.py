"""Keys and goals, walked by hand."""

import pytest
import torch

from perdure import PerdureError, check_env
from perdure.core.entities import KIND, KINDS, MORE, PLACE, PRESENT, TARGET
from perdure.core.random import Rng
from perdure.envs import AliceBob, get
from perdure.envs.multi_agent.alicebob import PLACES

RNG = Rng(torch.tensor(0), torch.tensor(0))
STAY, UP, DOWN, LEFT, RIGHT = range(5)


def at(env, *cells, n=1):
    """Return a start whose agents are at some cells."""
    return {**env.reset(RNG, n), "place": torch.tensor(cells).expand(n, -1, -1)}


def walk(env, state, *actions):
    """Return rewards, ends and what is latched at each step, and the last state."""
    trail = []
    for action in actions:
        state, reward, ended = env.step(state, torch.tensor([action]), RNG)
        trail.append((round(float(reward), 6), bool(ended), state["latched"][0].tolist()))
    return trail, state


@pytest.mark.parametrize(
    "env",
    [
        AliceBob(),
        AliceBob(size=5, agents=5, pairs=1, view=5),
        AliceBob(
            size=7, agents=3, pairs=4, layout="diagonals", shuffled=True, shaping=0.5, seats=4, slots=12
        ),
    ],
    ids=str,
)
def test_it_keeps_the_contract(env):
    check_env(env, steps=10)


def test_places():
    keys, goals = AliceBob(pairs=4)._places
    assert keys == [(1, 1), (8, 1), (4, 1), (1, 4)]
    assert goals == [(1, 8), (8, 8), (4, 8), (8, 4)]
    assert AliceBob(size=9, layout="columns")._places == ([(1, 1), (1, 7)], [(7, 1), (7, 7)])
    assert AliceBob(layout="diagonals")._places == ([(1, 1), (8, 1)], [(8, 8), (1, 8)])
    for layout in PLACES:
        keys, goals = AliceBob(size=6, pairs=4, layout=layout)._places
        assert len({*keys, *goals}) == 8


def test_moves_stop_at_walls():
    env = AliceBob()
    state = at(env, (1, 2), (8, 8))
    for action, cells in [
        ((STAY, RIGHT), [[1, 2], [8, 8]]),
        ((UP, DOWN), [[1, 2], [8, 8]]),
        ((DOWN, UP), [[2, 2], [7, 8]]),
        ((LEFT, LEFT), [[2, 1], [7, 7]]),
        ((LEFT, RIGHT), [[2, 1], [7, 8]]),
        # What is done to an entity is nothing.
        ((env.moves, env.moves + 5), [[2, 1], [7, 8]]),
    ]:
        state, _, _ = env.step(state, torch.tensor([action]), RNG)
        assert state["place"][0].tolist() == cells


def test_a_goal_latches_only_while_its_key_is_held():
    env = AliceBob(shaping=0.5, step_reward=0.25)
    # The first is beside the first key (1, 1); the second is beside the first goal (1, 8).
    trail, state = walk(
        env,
        at(env, (1, 2), (1, 7)),
        (STAY, RIGHT),  # at the goal, without the key
        (LEFT, LEFT),  # the key is held, but nobody is at the goal
        (RIGHT, RIGHT),  # at the goal; the key was just left
        (LEFT, STAY),  # both
        (STAY, STAY),  # latched but once
        (DOWN, LEFT),  # and for good
    )
    none, one = (0.0, False, [False, False]), [True, False]
    assert trail == [none, none, none, (0.5, False, one), (0.0, False, one), (0.0, False, one)]
    # The second goal (8, 8) is not that of the first key, but of the one at (8, 1).
    state["place"] = torch.tensor([[[2, 1], [7, 8]]])
    trail, _ = walk(env, state, (UP, DOWN))
    assert trail == [(0.0, False, one)]
    state["place"] = torch.tensor([[[7, 1], [7, 8]]])
    trail, _ = walk(env, state, (DOWN, DOWN), (STAY, STAY))
    assert trail == [(1.0, True, [True, True]), (0.0, True, [True, True])]


def to(place, cell):
    """Return a step from places ``[n, 2]`` towards cells, rows first."""
    down, right = (cell - place).unbind(-1)
    sideways = torch.where(right > 0, RIGHT, torch.where(right < 0, LEFT, STAY))
    return torch.where(down > 0, DOWN, torch.where(down < 0, UP, sideways))


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({}, 1.0),
        ({"shaping": 0.7}, 1.0),
        ({"agents": 4, "pairs": 4, "layout": "columns", "step_reward": 0.1}, 1.4),
        ({"size": 12, "layout": "diagonals", "shuffled": True}, 1.0),
    ],
)
def test_a_scripted_team_solves_it_within_the_limit(given, most):
    env = AliceBob(**given)
    state = env.reset(RNG, 50)
    keys = torch.tensor(env._places[0])
    total, running = torch.zeros(50), torch.ones(50, dtype=torch.bool)
    for _ in range(env.limit):
        # The first agent goes to the first key whose goal is closed, the second to that goal.
        pair = state["latched"].int().argmin(-1)
        goal = state["goal"][torch.arange(50), pair]
        action = torch.zeros(50, env.agents, dtype=torch.int64)
        action[:, 0], action[:, 1] = to(state["place"][:, 0], keys[pair]), to(state["place"][:, 1], goal)
        state, reward, ended = env.step(state, action, RNG)
        total, running = total + reward * running, running & ~ended
    assert not running.any()
    torch.testing.assert_close(total, torch.full((50,), most))


def test_silent_agents_without_memory_can_win():
    env = AliceBob()
    state, running = env.reset(RNG, 200), torch.ones(200, dtype=torch.bool)
    for _ in range(env.limit):
        seen = env.observe(state)
        row, column = ((seen[:, :, 0, PLACE : PLACE + 2] + 1) * 3.5 + 1).round().unbind(-1)
        # One goes down by the keys and up beside them, round and round.
        down, beside = torch.where(row < 8, DOWN, RIGHT), torch.where(row > 1, UP, LEFT)
        first = torch.where(column == 1, down, torch.where(column == 2, beside, LEFT))[:, 0]
        # The other one stays at a goal until it sees it latched.
        latched = seen[:, 1, -env.pairs :, MORE + 4].any(-1)
        closed = (column == 8) & ((row == 1) | (row == 8)) & ~latched.unsqueeze(-1)
        back = torch.where(row > 1, UP, RIGHT)
        round_ = torch.where(column == 8, torch.where(row < 8, DOWN, LEFT), back)
        second = torch.where(closed, STAY, round_)[:, 1]
        state, _, ended = env.step(state, torch.stack([first, second], -1), RNG)
        running = running & ~ended
    assert not running.any()


def test_one_agent_alone_opens_nothing():
    env = AliceBob()
    state = at(env, (4, 4), (5, 5))
    for cell in [*env._places[0], *env._places[1]]:
        for _ in range(14):
            step = to(state["place"][:, 0], torch.tensor([cell]))
            state, reward, ended = env.step(state, torch.stack([step, 0 * step], -1), RNG)
            assert float(reward) == 0
            assert not bool(ended)
    assert not state["latched"].any()


def kinds(rows):
    """Return kinds, places and further numbers of the rows that are there."""
    return [
        (KINDS[int(r[KIND:PLACE].argmax())], r[PLACE:MORE].tolist(), r[MORE:].nonzero().flatten().tolist())
        for r in rows
        if r[PRESENT]
    ]


def test_the_view_hides_what_is_further():
    env = AliceBob()
    # The first sees the second and a key that itself does not hold; two columns further is out of sight.
    first, second = env.observe(at(env, (2, 2), (3, 3)))[0]
    own = [2 * (2 - 1) / 7 - 1] * 2
    assert kinds(first) == [
        ("agent", pytest.approx(own), [0]), ("agent", [1.0, 1.0], [1]), ("key", [-1.0, -1.0], [0]),
    ]  # fmt: skip
    assert kinds(second)[1:] == [("agent", [-1.0, -1.0], [0])]
    assert not env.observe(at(env, (2, 3), (2, 5)))[0, :, 1:].any()
    # Held keys and latched goals say so, in the number behind the four of pairs.
    _, state = walk(env, at(env, (8, 1), (8, 7)), (STAY, RIGHT))
    assert kinds(env.observe(state)[0, 0])[1:] == [("key", [0.0, 0.0], [1, 4])]
    assert kinds(env.observe(state)[0, 1])[1:] == [("goal", [0.0, 0.0], [1, 4])]
    assert not env.observe(state)[..., TARGET].any()
    # A wider view has all of it.
    wide = AliceBob(view=15, pairs=4)
    assert wide.observe(at(wide, (4, 4), (5, 5)))[..., PRESENT].all()
    assert not AliceBob(view=1).observe(at(env, (4, 4), (4, 5)))[0, :, 1:].any()


def test_draws_of_an_episode():
    state = AliceBob(agents=3, pairs=4, shuffled=True).reset(RNG, 2000)
    cells = {(i, j) for i in range(1, 9) for j in range(1, 9)}
    keys, goals = AliceBob(pairs=4)._places
    assert {tuple(c) for c in state["place"].flatten(0, 1).tolist()} == cells - {*keys, *goals}
    assert all(len({*map(tuple, cells)}) == 3 for cells in state["place"].tolist())
    assert all({*map(tuple, cells)} == {*goals} for cells in state["goal"].tolist())
    first = (state["goal"][:, 0] == torch.tensor(goals[0])).all(-1).float().mean()
    assert abs(float(first) - 0.25) < 0.04
    fixed = AliceBob(pairs=4).reset(RNG, 5)["goal"]
    assert all([tuple(c) for c in cells] == goals for cells in fixed.tolist())


def test_the_picture():
    env = AliceBob(size=8)
    state = at(env, (3, 3), (4, 4), n=2)
    frame = env.frame(state)
    assert frame.shape == (2, 96, 96, 3)
    # Wall, key, goal, agent and floor; the goal is hollow until it is latched.
    spots = [(6, 6), (18, 18), (14, 74), (42, 42), (42, 66)]
    assert len({tuple(frame[0, i, j].tolist()) for i, j in spots}) == 4  # a key is as its goal
    latched = env.frame({**state, "latched": torch.ones(2, 2, dtype=torch.bool)})
    assert frame[0, 18, 78].tolist() == [255] * 3
    assert latched[0, 18, 78].tolist() == frame[0, 14, 74].tolist() == frame[0, 18, 18].tolist()


def test_a_name_builds_it_again():
    env = get("alicebob(size=12, agents=3, layout=columns, shuffled=true)")
    assert get(repr(env)) == env
    assert env.shape == (3, 7, 24)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"size": 10**9}, "size must be a whole number of at most 1,000"),
        ({"size": 4}, "size must be a whole number of at least 5"),
        ({"agents": 1}, "agents must be a whole number of at least 2"),
        ({"agents": 6}, "agents must be a whole number of at most 5"),
        ({"pairs": 5}, "pairs must be a whole number of at most 4"),
        ({"view": 4}, "view must be an odd number of cells; found 4"),
        ({"view": 23}, "view must be a whole number of at most 21"),
        ({"shaping": 1.5}, r"shaping must lie in \[0, 1\]"),
        ({"step_reward": -1.0}, "step_reward must be at least 0"),
        ({"layout": "circle"}, "layout must be"),
        ({"size": 5, "pairs": 4}, "leave 1 cells to start at, which must be as many as the agents; found 2"),
        ({"seats": 1}, "seats must be at least 2, which alicebob has; found 1"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        AliceBob(**given)
