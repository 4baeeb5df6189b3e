"""A recorder of sound: in what quality it records, and the recordings."""

from perdure.envs.device.declare import App, Of, One, Record, add
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Add, Set
from perdure.envs.device.screens import Detail, Form, Info, List, New, Page
from perdure.envs.device.task import Given, Slot, Task, template

NAMES = (
    "Lecture notes", "Bird song", "Band practice", "Voice memo", "Interview one", "Street noise",
    "Poem draft", "Choir warm-up", "Thunder", "Bedtime story",
)  # fmt: skip
FORMATS = ("M4A", "WAV", "3GP", "OGG")
QUALITIES = ("Phone quality", "Radio quality", "Studio quality")

# What a recording takes over from the settings.
TAKEN = {"format": Of("settings", "format"), "quality": Of("settings", "quality")}

APP = App(
    "recorder",
    "Recorder",
    records=(
        Record(
            "recording",
            {
                "name": Text(*NAMES, default="New recording"), "format": Choice(*FORMATS),
                "quality": Choice(*QUALITIES),
            },
            10, (1, 4),
        ),
        One("settings", {"format": Choice(*FORMATS), "quality": Choice(*QUALITIES)}),
    ),
    screens=(
        Page("main", "Recorder", buttons={
            "Record": "running", "Recordings": "recordings", "Settings": "settings",
        }),
        Info("running", "Recording", ("Sound is being recorded",), {
            "Stop": add("recording", "recordings", **TAKEN), "Stop and name": New("form", TAKEN),
            "Discard": "main",
        }),
        List("recordings", "recording", "Recordings", ("name", "format"), "recording"),
        Detail("recording", "recording", "Recording", "form", "recordings", up="recordings"),
        Form("form", "recording", "Save recording", "recordings"),
        Page("settings", "Settings", ("settings.format", "settings.quality")),
    ),
)  # fmt: skip

FORMAT, QUALITY = Slot("recorder.settings.format"), Slot("recorder.settings.quality")


class Recorder(Task):
    """What tasks of this app have in common."""

    app_names = ("recorder",)


@template
class RecorderSaveAs(Recorder):
    """Record something and give it a name."""

    template = "Record a piece of sound and save it as {name}."
    complexity = 1.4
    tags = ("data_entry",)
    schema = {"name": Slot("recorder.recording.name")}
    goals = (Add("recorder.recording", name="{name}"),)


@template
class RecorderQuality(Recorder):
    """Change how the recorder records, then record something."""

    template = "Set the recorder to the format {format} and {quality}, then record something without a name."
    complexity = 2.0
    tags = ("complex_ui",)
    schema = {"format": FORMAT, "quality": QUALITY, "before": FORMAT, "other": QUALITY}
    setup = (Given("recorder.settings", format="{before}", quality="{other}"),)
    goals = (
        Set("recorder.settings", format="{format}", quality="{quality}"),
        Add("recorder.recording", format="{format}", quality="{quality}"),
    )
