"""Grids, walked by hand."""

import pytest
import torch

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import GridWorld, get
from perdure.envs.single_agent.layouts import LAYOUTS

RNG = Rng(torch.tensor(0), torch.tensor(0))
UP, RIGHT, DOWN, LEFT, STAY = range(5)
# A key on the left, a goal on the right of a door.
ROOMS = ("######", "#..#.#", "#....#", "######")
LOCKED = GridWorld(ROOMS, goal=(1, 4), start=(1, 1), key=(1, 2), door=(2, 3), cost=0.1)


def walk(env, *actions):
    """Return the cells of a walk, as (row, column), what is held, rewards and ends."""
    state, trail = env.reset(RNG, 1), []
    width = env.shape[-1] if env.image else len(ROOMS[0])
    for action in actions:
        state, reward, ended = env.step(state, torch.tensor([action]), RNG)
        cell = int(state["cell"])
        trail.append(((cell // width, cell % width), bool(state["key"]), float(reward), bool(ended)))
    return trail


def test_a_walk_through_a_door():
    # Up into the wall; down and right to the door, which is closed; back for the key, through, to the goal.
    found = walk(LOCKED, UP, DOWN, RIGHT, RIGHT, UP, DOWN, RIGHT, RIGHT, UP)
    cells, held, rewards, ends = zip(*found, strict=True)
    assert cells == ((1, 1), (2, 1), (2, 2), (2, 2), (1, 2), (2, 2), (2, 3), (2, 4), (1, 4))
    assert held == (*[False] * 4, *[True] * 5)
    assert rewards == pytest.approx([-0.1] * 8 + [0.9])
    assert ends == (*[False] * 8, True)


def test_the_fifth_action_stays():
    env = GridWorld(ROOMS, start=(2, 2), stay=True)
    assert env.actions.n == 5
    assert [cell for cell, *_ in walk(env, STAY, LEFT, STAY, RIGHT)] == [(2, 2), (2, 1), (2, 1), (2, 2)]


def test_what_is_seen():
    state = LOCKED.reset(RNG, 1)
    seen = LOCKED.observe(state)[0]
    assert seen.nonzero().tolist() == [[1 * 6 + 1]]
    state, _, _ = LOCKED.step(state, torch.tensor([RIGHT]), RNG)
    assert LOCKED.observe(state)[0].nonzero().tolist() == [[1 * 6 + 2], [24]]
    image = GridWorld(ROOMS, goal=(1, 4), start=(1, 1), key=(1, 2), door=(2, 3), image=True)
    assert image.shape == (5, 4, 6)
    wall, goal, key, door, agent = image.observe(image.reset(RNG, 1))[0]
    assert wall.tolist() == [[float(mark == "#") for mark in row] for row in ROOMS]
    assert [plane.nonzero().tolist() for plane in (goal, key, door, agent)] == [
        [[1, 4]], [[1, 2]], [[2, 3]], [[1, 1]],
    ]  # fmt: skip
    _, goal, key, door, agent = image.observe(state)[0]
    assert [len(plane.nonzero()) for plane in (goal, key, door, agent)] == [1, 0, 0, 1]


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_layouts_are_connected_and_of_one_size(layout):
    env = GridWorld(layout)
    assert env.shape == GridWorld().shape == (82,)
    # All of the floor but the goal: from everywhere there is a way.
    floor = {i * 9 + j for i, row in enumerate(LAYOUTS[layout]) for j, mark in enumerate(row) if mark == "."}
    assert {*env._starts} == floor - {7 * 9 + 7}
    starts = env.reset(RNG, 2000)["cell"]
    assert {*starts.tolist()} == floor - {7 * 9 + 7}


def test_starts_are_where_there_is_a_way():
    # Two closed rooms: episodes start in that of the goal.
    assert GridWorld(("#####", "#.#.#", "#.#.#", "#####"))._starts == [1 * 5 + 3]
    # A corridor with the goal on the left of a door: the key on its right is of no use there.
    corridor = ("########", "#......#", "########")
    left = GridWorld(corridor, goal=(1, 1), key=(1, 6), door=(1, 4))
    assert left._starts == [8 + 2, 8 + 3, 8 + 5]
    assert GridWorld(corridor, goal=(1, 1), key=(1, 2), door=(1, 4))._starts == [8 + 3]


def test_a_name_builds_it_again():
    env = get("grid-world(maze, goal=(1, 1), start=(7, 7), image=true)")
    assert get(repr(env)) == env
    assert get(repr(LOCKED)) == LOCKED


def test_the_picture():
    frame = LOCKED.frame(LOCKED.reset(RNG, 2))
    assert frame.shape == (2, 32, 48, 3)
    # Wall, agent, key, floor: one colour in each cell.
    assert (
        len({tuple(frame[0, 4 + 8 * i, 4 + 8 * j].tolist()) for i, j in [(0, 0), (1, 1), (1, 2), (2, 1)]})
        == 4
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"layout": "opne"}, "unknown layout 'opne': did you mean open"),
        ({"layout": ("###", "#.#")}, "layout must be a name, or three rows or more"),
        ({"layout": ("###", "#.#", "####")}, "of one length"),
        ({"layout": ("###", "#x#", "###")}, "for floor; found"),
        ({"layout": ("", "", "")}, "three rows or more"),
        ({"layout": ("###", "..#", "###")}, "layout must have a wall all around"),
        ({"layout": ("###", "#.#", "###")}, "two cells of floor or more"),
        ({"goal": (0, 0)}, r"goal must be a cell of floor, \(row, column\); found \(0, 0\)"),
        ({"start": (9, 9)}, "start must be a cell of floor"),
        ({"start": (7, 7)}, "goal, start must be different cells"),
        ({"key": (1, 1)}, r"expected a key and a door, or none; found key=\(1, 1\), door=None"),
        ({"key": (1, 1), "door": (1, 1)}, "goal, key, door must be different cells"),
        ({"layout": ("#####", "#.#.#", "#####")}, "no way to it from the floor"),
        ({"layout": ("#####", "#.#.#", "#.#.#", "#####"), "start": (1, 1)}, r"no way to it from \(1, 1\)"),
        ({"layout": "two-rooms", "key": (1, 7), "door": (4, 4), "start": (1, 1)}, "no way to it"),
        ({"cost": -1.0}, "cost must be at least 0"),
        ({"goal": (1, 2, 3)}, "goal must be a tuple"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        GridWorld(**given)
