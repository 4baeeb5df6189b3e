"""A video player: videos, and playlists of them."""

from perdure.envs.device.declare import App, Record
from perdure.envs.device.fields import Text
from perdure.envs.device.goals import Add
from perdure.envs.device.screens import Detail, List, crud
from perdure.envs.device.task import Given, Slot, Task, template

VIDEOS = (
    "Whale dive", "First steps", "Kite contest", "City at dawn", "Cooking eggs", "Goal of the year",
    "Desert fox", "Snow tunnel", "Magic trick", "Glass blowing", "Drum solo", "Sailing class", "Robot dance",
    "Ant colony",
)  # fmt: skip
LENGTHS = tuple(f"{minutes} min" for minutes in (2, 4, 7, 11, 16, 23, 48, 90))
PLAYLISTS = (
    "For the kids", "Watch later", "Nature films", "Lessons", "Best of May", "Short ones", "Family evening",
    "Sport clips",
)  # fmt: skip
PLACES = ("first", "second", "third", "fourth")

APP = App(
    "video",
    "Video",
    records=(
        Record("video", {"title": Text(*VIDEOS), "length": Text(*LENGTHS)}, noise=(2, 3)),
        Record("playlist", {"name": Text(*PLAYLISTS), **dict.fromkeys(PLACES, Text(*VIDEOS))}, 6, (0, 2)),
    ),
    screens=(
        List(
            "videos", "video", "Videos", ("title", "length"), "video", buttons={"Playlists": "playlist.list"}
        ),
        Detail("video", "video", "A video"),
        *crud("playlist", "Playlists", ("name", "first", "second"), up="videos"),
    ),
)  # fmt: skip

TITLE, PLAYLIST = Slot("video.video.title"), Slot("video.playlist.name")


class Video(Task):
    """What tasks of this app have in common."""

    app_names = ("video",)
    tags = ("data_entry", "repetition")


@template
class VideoPlaylist(Video):
    """Create a playlist of some videos in order."""

    template = "Create a playlist called {name} in the video player, with {one}, then {two}."
    complexity = 2.2
    difficulty = "medium"
    schema = {"name": PLAYLIST, "one": TITLE, "two": TITLE}
    setup = tuple(Given("video.video", title=title) for title in ("{one}", "{two}"))
    goals = (Add("video.playlist", name="{name}", first="{one}", second="{two}"),)


@template
class VideoTwoPlaylists(Video):
    """Create two playlists of four videos each."""

    template = (
        "Create two playlists in the video player: {name} with {one}, {two}, {three}, {four}, and {more} "
        "with {five}, {six}, {seven}, {eight}, each in this order."
    )
    complexity = 5.6
    difficulty = "hard"
    schema = {
        "name": PLAYLIST, "one": TITLE, "two": TITLE, "three": TITLE, "four": TITLE,
        "more": PLAYLIST, "five": TITLE, "six": TITLE, "seven": TITLE, "eight": TITLE,
    }  # fmt: skip
    setup = tuple(Given("video.video", title="{" + slot + "}") for slot in (
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ))  # fmt: skip
    goals = (
        Add("video.playlist", name="{name}", first="{one}", second="{two}", third="{three}", fourth="{four}"),
        Add(
            "video.playlist", name="{more}", first="{five}", second="{six}", third="{seven}", fourth="{eight}"
        ),
    )
