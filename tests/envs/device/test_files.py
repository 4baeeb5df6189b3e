"""Files: folders, and files of the same name."""

import pytest

from tests.envs.device.hands import begin, click, declare, seen

MOVE = {"name": "cat.jpg", "folder": "Movies", "target": "Ringtones", "other": "Alarms"}


@pytest.mark.parametrize(("folder", "reward"), [("Movies", 1.0), ("Alarms", 0.0)])
def test_the_file_that_is_meant_is_moved(folder, reward):
    episode = begin("FilesMove", "Files", **MOVE)
    click(episode, "Folder", folder, "cat.jpg", "Folder", "Ringtones")
    assert episode.phone.screen == "files/file"
    held = {"Movies", "Alarms", "Ringtones"} - {folder}
    assert {one["folder"] for one in episode.phone.records("files.file") if one["name"] == "cat.jpg"} == held
    assert declare(episode) == reward


@pytest.mark.parametrize(("folder", "button", "reward"), [
    ("Movies", "OK", 1.0), ("Alarms", "OK", 0.0), ("Movies", "Cancel", 0.0),
])  # fmt: skip
def test_the_file_that_is_meant_is_deleted(folder, button, reward):
    episode = begin("FilesDelete", "Files", name="cat.jpg", folder="Movies", other="Alarms")
    click(episode, "Downloads", folder, "cat.jpg", "Delete", button)
    assert declare(episode) == reward
    assert ("cat.jpg" in seen(episode)) == (button == "Cancel")
