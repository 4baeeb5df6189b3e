"""Music: the queue, into which songs go from the front, and playlists made of it."""

import pytest

from tests.envs.device.hands import back, begin, click, declare, known, seen, write

SONGS = {"one": "Slow rain", "two": "Glass city", "three": "Last tram"}


@pytest.mark.parametrize(("order", "reward"), [
    (("Last tram", "Glass city", "Slow rain"), 1.0),
    # Each that is played next comes before those that were: as the wording has them, they stand reversed.
    (("Slow rain", "Glass city", "Last tram"), 0.0),
    (("Last tram", "Slow rain"), 0.0),
])  # fmt: skip
def test_what_is_played_next(order, reward):
    episode = begin("MusicPlayNext", "Music", before="Paper boats", **SONGS)
    click(episode, "Play next", *order)
    queue = [*reversed(order), "Paper boats", ""][:4]
    assert [*episode.phone.one("music.queue").values()] == queue
    assert declare(episode) == reward


def test_a_fifth_song_drives_out_the_last():
    episode = begin("MusicPlayNext", "Music", before="Paper boats", **SONGS)
    click(episode, "Play next", "Last tram", "Glass city", "Slow rain", "Last tram")
    queue = [*episode.phone.one("music.queue").values()]
    assert queue == ["Last tram", "Slow rain", "Glass city", "Last tram"]


def test_a_queue_becomes_a_playlist():
    episode = begin("MusicSaveQueue", "Music", name="Deep focus", **SONGS)
    assert known(episode) == ["name"]
    click(episode, "Queue")
    assert seen(episode)[-4:] == ["Slow rain", "Glass city", "Last tram", ""]
    assert known(episode) == ["name", "one", "two", "three"]
    click(episode, "Save as playlist")
    write(episode, Name="Deep focus")
    click(episode, "Save")
    assert episode.phone.records("music.playlist")[-1] == {
        "name": "Deep focus", "first": "Slow rain", "second": "Glass city", "third": "Last tram",
        "fourth": "",
    }  # fmt: skip
    assert declare(episode) == 1.0


def test_a_playlist_that_is_not_saved_is_none():
    episode = begin("MusicSaveQueue", "Music", name="Deep focus", **SONGS)
    click(episode, "Queue", "Save as playlist")
    write(episode, Name="Deep focus")
    back(episode)
    assert declare(episode) == 0.0


def test_a_queue_that_is_cleared_beside_is_no_success():
    episode = begin("MusicSaveQueue", "Music", name="Deep focus", **SONGS)
    click(episode, "Queue", "Save as playlist")
    write(episode, Name="Deep focus")
    click(episode, "Save")
    back(episode)
    click(episode, "Queue", "Clear")
    assert declare(episode) == 0.0
