"""The clock: what pausing, resetting and starting make of a stopwatch and a timer."""

import pytest

from tests.envs.device.hands import begin, click, declare, write


@pytest.mark.parametrize(("buttons", "elapsed", "reward"), [
    (("Pause",), "02:05", 1.0), (("Start", "Pause"), "02:05", 1.0), (("Reset",), "00:00", 0.0),
])  # fmt: skip
def test_a_stopwatch_is_paused_with_its_time(buttons, elapsed, reward):
    episode = begin("ClockPause", "Clock", name="Rowing", elapsed="02:05")
    click(episode, "Stopwatches", "Rowing", *buttons)
    rows = episode.phone.records("clock.stopwatch")
    assert [one for one in rows if one["name"] == "Rowing"] == [
        {"name": "Rowing", "elapsed": elapsed, "running": False}
    ]
    assert declare(episode) == reward


@pytest.mark.parametrize("starts", [False, True])
def test_a_timer_is_set_and_not_started(starts):
    episode = begin("ClockTimer", "Clock", label="Tea", hours="2", minutes="15", seconds="40")
    click(episode, "Timers", "Add")
    write(episode, Label="Tea", Hours="2", Minutes="15", Seconds="40")
    click(episode, *(["Running"] if starts else []), "Save")
    assert declare(episode) == float(not starts)


def test_no_minute_is_the_sixtieth():
    episode = begin("ClockTimer", "Clock", label="Tea", hours="2", minutes="15", seconds="40")
    click(episode, "Timers", "Add")
    write(episode, Minutes="60")
    assert episode.phone.draft["minutes"] == 0
