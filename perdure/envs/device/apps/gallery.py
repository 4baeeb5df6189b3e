"""A gallery: pictures in albums, and what is written on them."""

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Add, Read, Set
from perdure.envs.device.screens import Detail, List
from perdure.envs.device.task import Given, Slot, Task, template

PICTURES = (
    "Receipt one", "Bus timetable", "Shop sign", "Whiteboard", "Menu card", "Door code", "Poster",
    "Letter scan", "Parcel slip", "Route sketch", "Seat plan", "Price tag",
)  # fmt: skip
WRITTEN = (
    "Total 42 euros", "Leaves at nine", "Closed on Monday", "Room changed", "Soup of the day", "Ring twice",
    "Opens in June", "Reply by Friday", "Collect at desk", "Turn left twice", "Row seven", "Half price",
)  # fmt: skip
ALBUMS = ("Camera", "Screenshots", "Scans", "Holidays", "Work", "Received")

APP = App(
    "gallery",
    "Gallery",
    records=(
        Record(
            "picture", {"title": Text(*PICTURES), "album": Choice(*ALBUMS), "written": Text(*WRITTEN)},
            noise=(3, 7),
        ),
        One("view", {"album": Choice(*ALBUMS)}, view=True),
    ),
    screens=(
        List(
            "album", "picture", "Gallery", ("title",), "picture", controls=("view.album",),
            where=("album", Of("view", "album")),
        ),
        Detail("picture", "picture", "Picture", deletes="album"),
    ),
)  # fmt: skip


@template
class GalleryToNote(Task):
    """Copy what is written on a picture into a note."""

    template = (
        "Look at the picture {title} in the album {album} of the gallery, and add a note to Joplin with the "
        "title {title} and, as its body, the words written on the picture."
    )
    app_names = ("gallery", "joplin")
    complexity = 3.0
    difficulty = "medium"
    tags = ("multi_app", "screen_reading", "transcription")
    schema = {
        "title": Slot("gallery.picture.title"), "album": Slot("gallery.picture.album"),
        "written": Slot("gallery.picture.written"),
    }  # fmt: skip
    setup = (Given("gallery.picture", title="{title}", album="{album}", written="{written}"),)
    goals = (
        Set("gallery.view", album="{album}"),
        Read("gallery.picture", title="{title}"),
        Add("joplin.note", title="{title}", body="{written}"),
    )
