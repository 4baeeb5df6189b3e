"""A camera: photos and films, taken as its switches say."""

from perdure.envs.device.declare import App, Of, One, Record, add
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Add, Set
from perdure.envs.device.screens import Detail, Info, List, Page
from perdure.envs.device.task import Given, Slot, Task, template

PHOTOS = tuple(f"IMG {number}" for number in range(101, 119))
FILMS = tuple(f"MOV {number}" for number in range(201, 213))
LENSES, FLASHES = ("Back lens", "Front lens", "Wide lens"), ("Flash off", "Flash on", "Automatic flash")
SIZES = ("480 lines", "720 lines", "1080 lines", "2160 lines")

APP = App(
    "camera",
    "Camera",
    records=(
        Record(
            "photo",
            {"name": Text(*PHOTOS, default="New photo"), "lens": Choice(*LENSES), "flash": Choice(*FLASHES)},
            noise=(1, 4),
        ),
        Record(
            "film",
            {"name": Text(*FILMS, default="New film"), "lens": Choice(*LENSES), "size": Choice(*SIZES)},
            8, (0, 3),
        ),
        One("switches", {"lens": Choice(*LENSES), "flash": Choice(*FLASHES), "size": Choice(*SIZES)}),
    ),
    screens=(
        Page("photo", "Photo", ("switches.lens", "switches.flash"), {
            "Shutter": add("photo", lens=Of("switches", "lens"), flash=Of("switches", "flash")),
            "Film": "film", "Photos": "photos",
        }),
        Page("film", "Film", ("switches.lens", "switches.size"), {"Start": "running", "Films": "films"}),
        Info("running", "Filming", ("A film is being taken",), {
            "Stop": add("film", "film", lens=Of("switches", "lens"), size=Of("switches", "size")),
            "Discard": "film",
        }, up="film"),
        List("photos", "photo", "Photos", ("name", "lens", "flash"), "photo.detail"),
        Detail("photo.detail", "photo", "A photo", deletes="photos", up="photos"),
        List("films", "film", "Films", ("name", "lens", "size"), "film.detail", up="film"),
        Detail("film.detail", "film", "A film", deletes="films", up="films"),
    ),
)  # fmt: skip

LENS, FLASH, SIZE = Slot("camera.switches.lens"), Slot("camera.switches.flash"), Slot("camera.switches.size")


class Camera(Task):
    """What tasks of this app have in common."""

    app_names = ("camera",)
    tags = ("complex_ui",)


@template
class CameraPhoto(Camera):
    """Take a photo with a lens."""

    template = "Take one photo with the {lens} of the camera."
    complexity = 1.2
    schema = {"lens": LENS, "before": LENS}
    setup = (Given("camera.switches", lens="{before}"),)
    goals = (Set("camera.switches", lens="{lens}"), Add("camera.photo", lens="{lens}"))


@template
class CameraFilm(Camera):
    """Take a film of some size with a lens."""

    template = "Take a film of {size} with the {lens} of the camera, and stop it."
    complexity = 2.0
    schema = {"lens": LENS, "size": SIZE, "before": LENS, "smaller": SIZE}
    setup = (Given("camera.switches", lens="{before}", size="{smaller}"),)
    goals = (
        Set("camera.switches", size="{size}", lens="{lens}"),
        Add("camera.film", size="{size}", lens="{lens}"),
    )
