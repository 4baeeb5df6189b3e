"""The readable phone in Gymnasium's form."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from perdure import PerdureError
from perdure.envs import CartPole
from perdure.envs.device import Device
from perdure.envs.device.coding import FEATURES, coding
from perdure.envs.device.declare import ELEMENTS
from perdure.envs.device.gym import Readable

KEY = "perdure/Device-v0"


def test_gymnasiums_own_checker():
    with warnings.catch_warnings():
        # It would rather have the environment without what makes it one: its order and its limit.
        warnings.simplefilter("ignore", UserWarning)
        check_env(gymnasium.make(KEY, task="calendar", seed=2).unwrapped)


def test_an_episode(solved):
    env = gymnasium.make(KEY, task="CalendarAddEvent", instances=1, render_mode="ansi")
    seen, _ = env.reset(seed=4)
    _, numbers, played = solved("CalendarAddEvent")
    assert env.unwrapped.goal == played.task.goal
    assert env.render().startswith("home\n   0 Home\n")
    rewards = []
    for number in numbers:
        seen, reward, ended, cut, _ = env.step(number)
        rewards.append(reward)
        assert seen in env.observation_space
    assert rewards == [0.0] * (len(numbers) - 1) + [1.0]
    assert (ended, cut) == (True, False)


def test_the_observation_is_a_table_of_elements():
    env = gymnasium.make(KEY, task="CalendarAddEvent", instances=1)
    seen, _ = env.reset(seed=0)
    codes = coding()
    assert seen.shape == (codes.size,) == (codes.globals + ELEMENTS * FEATURES,)
    table = codes.elements(seen)
    assert table.shape == (ELEMENTS, FEATURES)
    episode = env.unwrapped.episode
    shown = episode.phone.elements()
    assert table[len(shown) :].sum() == 0
    # The class, and whether it is clickable: home's title, its button, and an icon.
    assert [row[:8].nonzero()[0].tolist() for row in table[:3]] == [[0], [1, 7], [6, 7]]
    # Of the form's field that has been filled in, the text equals the slot.
    for number in (codes.actions.index(next(a for a in codes.actions if a.word == "calendar")), 2, 2):
        seen, *_ = env.step(number)
    assert codes.elements(seen)[:, -20:].sum() == 0
    seen, *_ = env.step(ELEMENTS)
    (row, column) = np.argwhere(codes.elements(seen)[:, -20:])[0]
    assert (row, column) == (2, 0)
    assert episode.phone.elements()[2].text == episode.task.params["title"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Readable(CartPole()), "expected a device; found cartpole"),
        (lambda: Readable("device", "rgb_array"), "render_mode must be None or 'ansi'"),
        (lambda: Readable("device", task="nothing"), "unknown task 'nothing'"),
        (lambda: Readable(Device("settings")).step(0), "expected a reset first"),
        (lambda: Readable(Device("settings")).render(), "make the environment with render_mode='ansi'"),
        (lambda: begun().step(10_000), "10000"),
        (lambda: begun().reset(options={"x": 1}), "options"),
    ],
)
def test_refusals(build, message):
    with pytest.raises(PerdureError, match=message):
        build()


def begun():
    env = Readable(Device("settings"))
    env.reset(seed=0)
    return env
