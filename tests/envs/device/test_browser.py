"""The browser: a museum that one walks through, and an order with a code from another page."""

import pytest

from perdure.envs.device.apps.browser import DOORS
from tests.envs.device.hands import back, begin, click, declare, known, seen, write

OPPOSITE = {"North": "South", "South": "North", "East": "West", "West": "East"}


def test_every_door_leads_back():
    for room, doors in DOORS.items():
        for door, behind in doors.items():
            assert DOORS[behind][OPPOSITE[door]] == room


@pytest.mark.parametrize("way", [
    ("East", "South", "South", "West", "North"),
    ("East", "East", "West", "South", "South", "East", "North", "South"),
])  # fmt: skip
def test_a_walk_is_as_the_map_says(way):
    episode, room = begin("BrowserMuseum", "Browser", room="Roof"), "Entrance"
    click(episode, "Museum")
    for door in way:
        assert seen(episode)[0] == room
        click(episode, door)
        room = DOORS[room][door]
    assert seen(episode)[0] == room


@pytest.mark.parametrize(("way", "reward"), [
    (("East", "South", "South", "East", "North"), 1.0), (("East", "South", "South", "East"), 0.0),
])  # fmt: skip
def test_a_stamp_of_the_roof(way, reward):
    episode = begin("BrowserMuseum", "Browser", room="Roof")
    click(episode, "Museum", *way, "Stamp")
    assert declare(episode) == reward


def test_an_order_needs_the_code_that_the_product_shows():
    params = {"product": "Door mat", "customer": "Ms Keller", "code": "ZP9", "pieces": "3"}
    episode = begin("BrowserOrder", "Browser", **params)
    assert "code" not in known(episode)
    click(episode, "Shop", "Door mat")
    assert "code" in known(episode)
    back(episode)
    click(episode, "Order form")
    write(episode, Customer="Ms Keller", Code="ZP9", Pieces="3")
    click(episode, "Send")
    assert episode.phone.records("browser.order")[-1] == {"customer": "Ms Keller", "code": "ZP9", "pieces": 3}
    assert declare(episode) == 1.0
    # The app, the shop, the product, back, the form, three times two, Send, the declaration.
    assert episode.task.budget() - episode.left == 13
