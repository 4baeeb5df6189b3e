"""Contacts and video playlists: what forms make of what is typed."""

import pytest

from tests.envs.device.hands import begin, click, declare, write

DRAFT = {"name": "Eva Lindgren", "company": "Lake Hotel", "phone": "555 1043", "kind": "Work"}


@pytest.mark.parametrize("draft", [True, False])
def test_a_contact_stays_a_draft(draft):
    episode = begin("ContactsDraft", "Contacts", **DRAFT)
    click(episode, "Add")
    write(episode, Name="Eva Lindgren", Phone="555 1043", Company="Lake Hotel")
    click(episode, "Kind of number", "Work", *(["Draft"] if draft else []), "Save")
    assert episode.phone.records("contacts.contact")[-1] == {**DRAFT, "draft": draft}
    assert declare(episode) == float(draft)


@pytest.mark.parametrize("seconds", [("Drum solo", "Ant colony"), ("Ant colony", "Drum solo")])
def test_videos_of_a_playlist_have_an_order(seconds):
    episode = begin("VideoPlaylist", "Video", name="Lessons", one="Drum solo", two="Ant colony")
    click(episode, "Playlists", "Add")
    write(episode, Name="Lessons", First=seconds[0], Second=seconds[1])
    click(episode, "Save")
    assert declare(episode) == float(seconds == ("Drum solo", "Ant colony"))
