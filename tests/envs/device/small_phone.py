"""A small phone, whose apps have all that apps may have."""

from perdure.envs.device import App
from perdure.envs.device.catalogue import Catalogue
from perdure.envs.device.declare import Of, One, Record, add, put, set_one
from perdure.envs.device.fields import Bool, Choice, Text
from perdure.envs.device.screens import Detail, List, New, Page, crud

SONGS = ("Blue", "Green", "Red", "White", "Black", "Grey", "Gold", "Pink", "Brown", "Orange")
MUSIC = App(
    "music",
    "Music",
    records=(
        Record("song", {"name": Text(*SONGS), "mood": Choice("calm", "loud"), "liked": Bool()}, noise=(9, 9)),
        Record("entry", {"song": Text(*SONGS), "list": Choice("Mix", "Party")}, 6, (2, 2)),
        Record("mood", {"name": Text("calm", "loud")}, noise=(0, 0)),
        One("player", {"song": Text(*SONGS), "mode": Choice("once", "again")}),
        One("view", {"mood": Text("calm", "loud")}, view=True),
    ),
    screens=(
        Page("main", "Music", links={
            "Songs": "songs", "Lists": "entry.list", "Moods": "moods", "Player": "player",
        }),
        List("songs", "song", "Songs", ("name", "mood"), "song"),
        Detail(
            "song", "song", "Song", changes=("liked",),
            buttons={
                "To party": add("entry", song=Of("record", "name"), list="Party"),
                "Play": set_one("player", song=Of("record", "name")),
                "Write": New("entry.form", {"song": Of("record", "name")}),
                "Loud": put(mood="loud"),
            },
        ),
        *crud("entry", "Lists", ("song", "list")),
        List("moods", "mood", "Moods", ("name",), set_one("view", "by", mood=Of("row", "name"))),
        List("by", "song", "By mood", ("name",), "song", where=("mood", Of("view", "mood")), up="moods"),
        Page("player", "Player", ("player.song", "player.mode"), {"Again": set_one("player", mode="again")}),
    ),
)  # fmt: skip
NOTES = App(
    "notes", "Notes", (Record("note", {"text": Text("One", "Two", "Three")}),),
    crud("note", "Notes", ("text",), search="text"),
)  # fmt: skip
PHONE = Catalogue([MUSIC, NOTES])
