"""What a camera, a recorder, a drawing pad and a gallery make: as their switches say, and under a name."""

import pytest

from tests.envs.device.hands import back, begin, click, declare, known, seen, start, write


@pytest.mark.parametrize(("times", "reward"), [(1, 1.0), (2, 0.0), (0, 0.0)])
def test_one_photo_with_the_lens(times, reward):
    episode = begin("CameraPhoto", "Camera", lens="Wide lens", before="Back lens")
    click(episode, "Lens", "Wide lens", *["Shutter"] * times)
    taken = [one for one in episode.phone.records("camera.photo") if one["name"] == "New photo"]
    assert taken == [{"name": "New photo", "lens": "Wide lens", "flash": "Flash off"}] * times
    assert declare(episode) == reward


@pytest.mark.parametrize(("button", "reward"), [("Stop", 1.0), ("Discard", 0.0)])
def test_a_film_is_there_once_it_is_stopped(button, reward):
    params = {"size": "1080 lines", "lens": "Front lens", "before": "Back lens", "smaller": "480 lines"}
    episode = begin("CameraFilm", "Camera", **params)
    click(episode, "Film", "Lens", "Front lens", "Size", "1080 lines", "Start")
    assert episode.phone.screen == "camera/running"
    click(episode, button)
    assert declare(episode) == reward


def test_a_recording_is_as_the_settings_say():
    params = {"format": "OGG", "quality": "Studio quality", "before": "WAV", "other": "Phone quality"}
    episode = begin("RecorderQuality", "Recorder", **params)
    click(episode, "Settings", "Format", "OGG", "Quality", "Studio quality")
    back(episode)
    click(episode, "Record", "Stop")
    assert episode.phone.records("recorder.recording")[-1] == {
        "name": "New recording", "format": "OGG", "quality": "Studio quality",
    }  # fmt: skip
    assert declare(episode) == 1.0


@pytest.mark.parametrize(("name", "reward"), [("Thunder", 1.0), ("Choir", 0.0)])
def test_a_recording_gets_a_name(name, reward):
    episode = begin("RecorderSaveAs", "Recorder", name="Thunder")
    click(episode, "Record", "Stop and name")
    write(episode, Name=name)
    click(episode, "Save")
    assert declare(episode) == reward


def test_a_drawing_is_what_is_on_the_canvas():
    params = {"name": "Robot", "shape": "Star", "colour": "Blue", "paper": "Grey paper"}
    episode = begin("DrawCreate", "Draw", **params)
    click(episode, "Shape", "Star", "Colour", "Blue", "Paper", "Grey paper", "Save as")
    assert seen(episode)[-4:] == ["", "Star", "Blue", "Grey paper"]
    write(episode, Name="Robot")
    click(episode, "Save")
    assert declare(episode) == 1.0


def test_what_is_written_on_a_picture_can_be_typed_once_it_was_seen():
    episode = begin("GalleryToNote", "Gallery", title="Poster", album="Scans", written="Row seven")
    assert known(episode) == ["title", "album"]
    click(episode, "Camera", "Scans", "Poster")
    assert known(episode) == ["title", "album", "written"]
    back(episode)
    back(episode)
    start(episode, "Joplin")
    click(episode, "Add")
    write(episode, Title="Poster", Body="Row seven")
    click(episode, "Save")
    assert declare(episode) == 1.0
