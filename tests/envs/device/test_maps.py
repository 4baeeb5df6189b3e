"""Maps: routes of the three stops that were added last, and markers."""

import pytest

from tests.envs.device.hands import back, begin, click, declare, seen, write

TRACK = {"start": "Pine lake", "via": "Old mill", "end": "Fox hill", "name": "Coast tour"}


@pytest.mark.parametrize(("stops", "reward"), [
    (("Pine lake", "Old mill", "Fox hill"), 1.0), (("Fox hill", "Pine lake", "Old mill", "Fox hill"), 1.0),
    (("Fox hill", "Old mill", "Pine lake"), 0.0), (("Old mill", "Fox hill"), 0.0),
])  # fmt: skip
def test_a_track_of_stops_in_order(stops, reward):
    episode = begin("MapsTrack", "Maps", **TRACK)
    click(episode, "Route", "Stop", *stops)
    back(episode)
    assert seen(episode)[-3:] == ["", *stops][-3:]
    click(episode, "Save track")
    write(episode, Name="Coast tour")
    click(episode, "Save")
    assert declare(episode) == reward


def test_a_marker_on_the_right_one_of_two():
    params = {"name": "Pine lake", "country": "Malta", "other": "Iceland"}
    for country, reward in (("Malta", 1.0), ("Iceland", 0.0)):
        episode = begin("MapsMarker", "Maps", **params)
        click(episode, "Search")
        write(episode, Query="Pine lake")
        assert seen(episode).count("Pine lake") == 3
        click(episode, country)
        click(episode, "Marker")
        assert episode.phone.records("maps.marker")[-1] == {"place": "Pine lake", "country": country}
        assert declare(episode) == reward
