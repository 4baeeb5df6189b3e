"""The falling ball, caught and missed by hand."""

import pytest
import torch

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Catch

RNG = Rng(torch.tensor(0), torch.tensor(0))
LEFT, STAY, RIGHT = range(3)


def at(row, column, paddle):
    return {k: torch.tensor([v]) for k, v in {"row": row, "column": column, "paddle": paddle}.items()}


def play(env, state, *actions):
    """Return the rewards and ends of steps."""
    found = []
    for action in actions:
        state, reward, ended = env.step(state, torch.tensor([action]), RNG)
        found.append((float(reward), bool(ended)))
    return found


def picture(env, state):
    """Return which pixels are bright."""
    return env.observe(state)[0, 0].nonzero().tolist()


def test_caught_and_missed():
    # The ball falls nine rows in column 7; the paddle starts in column 5.
    on = [(0.0, False)] * 8
    assert play(Catch(), at(0, 7, 5), RIGHT, RIGHT, *[STAY] * 7) == [*on, (1.0, True)]
    assert play(Catch(), at(0, 7, 5), RIGHT, *[STAY] * 8) == [*on, (-1.0, True)]
    assert play(Catch(), at(0, 7, 5), RIGHT, RIGHT, RIGHT, *[STAY] * 6) == [*on, (-1.0, True)]
    # The last move counts.
    assert play(Catch(), at(8, 3, 4), LEFT) == [(1.0, True)]
    assert play(Catch(swapped=True), at(8, 3, 4), RIGHT) == [(1.0, True)]


def test_every_ball_of_one_row_per_step_can_be_caught():
    env = Catch()
    state = env.reset(RNG, 500)
    assert {*state["column"].tolist()} == {*range(10)}
    for _ in range(9):
        state, reward, ended = env.step(state, (state["column"] - state["paddle"]).sign() + 1, RNG)
    assert ended.all()
    assert (reward == 1).all()


def test_the_paddle_stays_in_the_picture():
    state, _, _ = Catch(width=4).step(at(0, 0, 6), torch.tensor([RIGHT]), RNG)
    assert int(state["paddle"]) == 6
    state, _, _ = Catch(width=4).step(at(0, 0, 0), torch.tensor([LEFT]), RNG)
    assert int(state["paddle"]) == 0


def test_pictures():
    assert picture(Catch(), at(0, 7, 5)) == [[0, 7], [9, 5]]
    # A ball of two pixels that leaves at the right comes in at the left.
    assert picture(Catch(size=2, width=3), at(1, 9, 5)) == [
        [1, 0], [1, 9], [2, 0], [2, 9], [9, 5], [9, 6], [9, 7],
    ]  # fmt: skip
    dim, inverted = Catch(brightness=0.25).observe(at(0, 7, 5)), Catch(inverted=True).observe(at(0, 7, 5))
    assert dim.unique().tolist() == [0, 0.25]
    assert torch.equal(inverted, 1 - Catch().observe(at(0, 7, 5)))


def test_speed_and_drift():
    # Three rows and two columns to the left per step: 7, 5, 3, 1, and in column 1 the paddle of width 2 is.
    env = Catch(speed=3, drift=-2, width=2)
    assert play(env, at(0, 7, 3), LEFT, LEFT, LEFT) == [(0.0, False), (0.0, False), (1.0, True)]
    # A ball of two pixels falls eight rows, the last step is cut: its right half is over the paddle.
    assert play(Catch(speed=3, size=2), at(0, 4, 5), *[STAY] * 3) == [(0.0, False), (0.0, False), (1.0, True)]
    assert play(Catch(size=2), at(7, 9, 0), STAY) == [(1.0, True)]
    state, _, _ = Catch(drift=4).step(at(0, 8, 0), torch.tensor([STAY]), RNG)
    assert int(state["column"]) == 2


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"size": 6}, "size must be a whole number of at most 5; found 6"),
        ({"width": 0}, "width must be a whole"),
        ({"speed": 0}, "speed must be a whole number of at least 1"),
        ({"drift": 10}, "drift must be a whole number"),
        ({"brightness": 0.0}, r"brightness must lie in \(0, 1\]; found 0"),
        ({"limit": 8}, "limit must be at least 9, the steps of a fall; found 8"),
    ],
)
def test_refusals(given, line):
    with pytest.raises(PerdureError, match=line):
        Catch(**given)
