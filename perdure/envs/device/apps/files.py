"""Files in folders."""

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Change, Remove, Set
from perdure.envs.device.screens import Detail, List
from perdure.envs.device.task import Given, Slot, Task, template

NAMES = (
    "report.pdf", "budget.xls", "holiday.jpg", "letter.txt", "song.mp3", "plan.doc", "backup.zip",
    "invoice.pdf", "slides.ppt", "recipe.txt", "contract.pdf", "clip.mp4", "ticket.pdf", "thesis.doc",
    "cat.jpg", "log.txt",
)  # fmt: skip
FOLDERS = (
    "Downloads", "Alarms", "Audiobooks", "Documents", "Movies", "Notifications", "Pictures", "Podcasts",
    "Recordings", "Ringtones",
)  # fmt: skip
SIZES = tuple(f"{size} kB" for size in (3, 17, 42, 88, 130, 256, 540, 910))

APP = App(
    "files",
    "Files",
    records=(
        Record(
            "file", {"name": Text(*NAMES), "folder": Choice(*FOLDERS), "size": Text(*SIZES)}, noise=(5, 9)
        ),
        One("view", {"folder": Choice(*FOLDERS)}, view=True),
    ),
    screens=(
        List(
            "folder", "file", "Files", ("name", "size"), "file", controls=("view.folder",),
            where=("folder", Of("view", "folder")),
        ),
        Detail("file", "file", "File", deletes="folder", changes=("folder",)),
    ),
)  # fmt: skip

NAME, FOLDER = Slot("files.file.name"), Slot("files.file.folder")


class Files(Task):
    """What tasks of this app have in common: a file of the same name in a folder that is not meant."""

    app_names = ("files",)
    tags = ("search", "data_edit")


@template
class FilesDelete(Files):
    """Delete a file."""

    template = "Delete the file {name} in the folder {folder}."
    complexity = 1.6
    schema = {"name": NAME, "folder": FOLDER, "other": FOLDER}
    setup = (
        Given("files.file", name="{name}", folder="{folder}"),
        Given("files.file", name="{name}", folder="{other}"),
    )
    goals = (Set("files.view", folder="{folder}"), Remove("files.file", name="{name}", folder="{folder}"))


@template
class FilesMove(Files):
    """Move a file to another folder."""

    template = "Move the file {name} from the folder {folder} to {target}."
    complexity = 1.8
    schema = {"name": NAME, "folder": FOLDER, "target": FOLDER, "other": FOLDER}
    setup = (
        Given("files.file", name="{name}", folder="{folder}"),
        Given("files.file", name="{name}", folder="{other}"),
    )
    goals = (
        Set("files.view", folder="{folder}"),
        Change("files.file", {"name": "{name}", "folder": "{folder}"}, folder="{target}"),
    )
