"""Notes in folders: titles, up to three lines of text, a date, pinned or not."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record, set_one
from perdure.envs.device.fields import Bool, Choice, Date, Text
from perdure.envs.device.goals import Add, Answer, Change, Number, Read, Remove
from perdure.envs.device.screens import Detail, Form, List, New, crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Shopping", "Packing list", "Holiday ideas", "Meeting minutes", "Reading list", "Gift ideas",
    "House rules", "Garden plan", "Diary", "Quotes", "Film list", "Training plan", "Speech",
    "Recipe draft", "Travel costs", "Lecture", "Bike repair", "Wish list", "Song text",
    "Interview questions", "Moving house", "Dream", "Riddles", "Birthday plans",
)  # fmt: skip
LINES = (
    "Buy milk and bread", "Call the plumber", "Ask Mia about Friday", "Water the tomatoes",
    "Bring warm socks", "Start at half past six", "Pay the deposit", "Key is under the mat",
    "Finish chapter four", "Print two copies", "Charge the camera", "Take the early train",
    "Book the small room", "Return the ladder", "Check the tyres", "Ring twice", "Paint the fence green",
    "Learn ten new words", "Thank the neighbours", "Send the invoice", "Pick up the parcel",
    "Leave the window open", "Two eggs are enough", "Never on a Sunday",
)  # fmt: skip
# A phone begins with all of the first ones; the others are for new folders.
FOLDERS = ("Private", "Work", "School", "Travel", "Ideas", "Archive")
NEW_FOLDERS = (
    "Projects", "Letters", "Music", "Health", "Money", "Family", "Sports", "Poems", "Lists", "Drafts",
    "Clubs", "Garden",
)  # fmt: skip
KINDS = ("Plain text", "Markdown", "To-do list")
TODAY = "Nov 15"
EARLY, LATE = tuple(f"Nov {day}" for day in range(1, 21)), tuple(f"Nov {day}" for day in range(24, 31))

APP = App(
    "notes",
    "Notes",
    records=(
        Record("note", {
            "title": Text(*TITLES), "folder": Text(*FOLDERS), "date": Date(TODAY), "kind": Choice(*KINDS),
            "first": Text(*LINES, label="First line"), "second": Text(*LINES, label="Second line"),
            "third": Text(*LINES, label="Third line"), "pinned": Bool(),
        }),
        Record("folder", {"name": Text(*FOLDERS)}, noise=(len(FOLDERS), len(FOLDERS))),
        One("view", {"folder": Text()}, view=True),
    ),
    screens=(
        *crud(
            "note", "Notes", ("title", "folder", "date"), search="title", changes=("pinned",),
            actions={"Move": "note.move"}, buttons={"Folders": "folder.list", "Pinned": "note.pinned"},
        ),
        Detail(
            "note.move", "note", "Move to", changes=("folder",), fields=("title", "folder"), up="note.detail",
        ),
        List(
            "note.pinned", "note", "Pinned", ("title", "folder", "date"), "note.detail",
            where=("pinned", True),
        ),
        List(
            "folder.list", "folder", "Folders", ("name",), adds="folder.form",
            opens=set_one("view", "folder.notes", folder=Of("row", "name")),
        ),
        List(
            "folder.notes", "note", "Notes of the folder", ("title", "folder", "date"), "note.detail",
            where=("folder", Of("view", "folder")), up="folder.list",
            buttons={
                "Add": New("note.form", {"folder": Of("view", "folder")}), "This folder": "folder.detail",
            },
        ),
        Detail("folder.detail", "folder", "Folder", deletes="folder.list", up="folder.notes"),
        Form("folder.form", "folder", "New folder", "folder.list"),
    ),
)  # fmt: skip

TITLE, FOLDER, DATE = Slot("notes.note.title"), Slot("notes.note.folder"), Slot("notes.note.date")
FIRST, SECOND, THIRD = Slot("notes.note.first"), Slot("notes.note.second"), Slot("notes.note.third")
NEW_FOLDER = Slot("notes.folder.name", among=NEW_FOLDERS)
# More than a screen shows at once: one has to scroll or search.
MANY = {"notes.note": (7, 11)}


class Notes(Task):
    """What tasks of this app have in common."""

    app_names: ClassVar[tuple[str, ...]] = ("notes",)


@template
class NotesCreate(Notes):
    """Create a note of some kind."""

    template = "Create a note called {title}, of the kind {kind}, with the first line: {first}."
    complexity = 2.0
    tags = ("data_entry",)
    schema = {"title": TITLE, "kind": Slot("notes.note.kind", among=KINDS[1:]), "first": FIRST}
    goals = (Add("notes.note", title="{title}", kind="{kind}", first="{first}"),)


@template
class NotesCreateFolder(Notes):
    """Create a folder."""

    template = "Create a folder called {folder} in Notes."
    complexity = 1.4
    tags = ("data_entry",)
    schema = {"folder": NEW_FOLDER}
    goals = (Add("notes.folder", name="{folder}"),)


@template
class NotesDelete(Notes):
    """Delete a note, and not the one of the same name in another folder."""

    template = "Delete the note {title} that is in the folder {folder}."
    complexity = 1.2
    tags = ("data_edit",)
    schema = {"title": TITLE, "folder": FOLDER, "other": FOLDER}
    setup = (
        Given("notes.note", title="{title}", folder="{folder}"),
        Given("notes.note", title="{title}", folder="{other}"),
    )
    goals = (Remove("notes.note", title="{title}", folder="{folder}"),)


@template
class NotesRename(Notes):
    """Give a note another title."""

    template = "Rename the note {title} to {renamed}."
    complexity = 1.4
    tags = ("data_edit",)
    schema = {"title": TITLE, "renamed": TITLE}
    setup = (Given("notes.note", title="{title}"),)
    goals = (Change("notes.note", {"title": "{title}"}, title="{renamed}"),)


@template
class NotesMove(Notes):
    """Move a note to another folder."""

    template = "Move the note {title} to the folder {folder}."
    complexity = 1.4
    tags = ("data_edit",)
    schema = {"title": TITLE, "folder": FOLDER, "before": FOLDER}
    setup = (Given("notes.note", title="{title}", folder="{before}"),)
    goals = (Change("notes.note", {"title": "{title}"}, folder="{folder}"),)


@template
class NotesPin(Notes):
    """Pin a note."""

    template = "Pin the note {title}."
    complexity = 1.0
    tags = ("data_edit", "search")
    schema = {"title": TITLE}
    setup = (Given("notes.note", title="{title}", pinned=False),)
    goals = (Change("notes.note", {"title": "{title}"}, pinned=True),)
    noise = MANY


@template
class NotesFirstLine(Notes):
    """Find out what a note says."""

    template = "What is the first line of the note {title}?"
    complexity = 1.0
    tags = ("information_retrieval", "search")
    schema = {"title": TITLE, "first": FIRST}
    setup = (Given("notes.note", title="{title}", first="{first}"),)
    goals = (Answer("notes.note", "first", title="{title}"),)
    noise = MANY


@template
class NotesHowMany(Notes):
    """Find out how many notes a folder has."""

    template = "How many notes are there in the folder {folder}?"
    complexity = 1.2
    tags = ("information_retrieval",)
    # Not a slot of the note's field: notes at random may lie in this folder, so the number varies.
    schema = {"folder": Slot(among=FOLDERS)}
    setup = (Given("notes.note", folder="{folder}"),)
    goals = (Number("notes.note", folder="{folder}"),)
    noise = {"notes.note": (4, 9)}


@template
class NotesEdit(Notes):
    """Change two lines of a note, where another one of the same name is not meant."""

    template = (
        "In the note {title} of the folder {folder}, let the second line be: {second}, the third: {third}."
    )
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "search")
    schema = {"title": TITLE, "folder": FOLDER, "second": SECOND, "third": THIRD, "other": FOLDER}
    setup = (
        Given("notes.note", title="{title}", folder="{folder}", third=""),
        Given("notes.note", title="{title}", folder="{other}", third=""),
    )
    goals = (
        Change("notes.note", {"title": "{title}", "folder": "{folder}"}, second="{second}", third="{third}"),
    )


@template
class NotesDeleteNewest(Notes):
    """Delete the newest note of a folder."""

    template = "Delete the newest note of the folder {folder}, the one with the latest date."
    complexity = 1.4
    difficulty = "medium"
    tags = ("data_edit", "screen_reading")
    schema = {
        "folder": FOLDER, "date": Slot("notes.note.date", among=LATE),
        "before": Slot("notes.note.date", among=EARLY), "earlier": Slot("notes.note.date", among=EARLY),
    }  # fmt: skip
    setup = tuple(
        Given("notes.note", folder="{folder}", date=date) for date in ("{before}", "{date}", "{earlier}")
    )
    goals = (Remove("notes.note", folder="{folder}", date="{date}"),)


@template
class NotesFromEvent(Notes):
    """Create a note of what the calendar says."""

    template = (
        "Create a note called {title} whose first line is the place of the event {event} in the calendar."
    )
    app_names = ("notes", "calendar")
    complexity = 2.0
    difficulty = "medium"
    tags = ("multi_app", "data_entry", "screen_reading")
    schema = {"title": TITLE, "event": Slot("calendar.event.title"), "place": Slot("calendar.event.place")}
    setup = (Given("calendar.event", title="{event}", place="{place}"),)
    goals = (Read("calendar.event", title="{event}"), Add("notes.note", title="{title}", first="{place}"))


@template
class NotesMerge(Notes):
    """Make one note of two."""

    template = (
        "Merge two notes into a new one called {merged}: its first line is the first line of {title}, its "
        "second line the first line of {other}. Then delete both {title} and {other}."
    )
    complexity = 4.0
    difficulty = "hard"
    tags = ("data_edit", "transcription", "repetition")
    schema = {"merged": TITLE, "title": TITLE, "other": TITLE, "first": FIRST, "second": FIRST}
    setup = (
        Given("notes.note", title="{title}", first="{first}", second="", third=""),
        Given("notes.note", title="{other}", first="{second}", second="", third=""),
    )
    goals = (
        Read("notes.note", title="{title}"),
        Read("notes.note", title="{other}"),
        Add("notes.note", title="{merged}", first="{first}", second="{second}"),
        Remove("notes.note", title="{title}"),
        Remove("notes.note", title="{other}"),
    )


@template
class NotesDeleteFolder(Notes):
    """Delete a folder with the notes in it."""

    template = "The folder {folder} is of no more use: delete all notes in it, then the folder itself."
    complexity = 3.4
    difficulty = "hard"
    tags = ("data_edit", "repetition", "complex_ui")
    schema = {"folder": FOLDER}
    setup = (Given("notes.note", folder="{folder}"),) * 3
    goals = (Remove("notes.note", folder="{folder}"), Remove("notes.folder", name="{folder}"))


@template
class NotesTidyUp(Notes):
    """Create a folder, move two notes into it, and create another one there."""

    template = (
        "Create the folder {folder} in Notes and move the notes {title} and {other} to it. Then create a "
        "note called {new} in this folder, with the lines {first} and {second}."
    )
    complexity = 5.6
    difficulty = "hard"
    tags = ("data_entry", "data_edit", "repetition", "complex_ui")
    schema = {
        "folder": NEW_FOLDER, "title": TITLE, "other": TITLE, "new": TITLE, "first": FIRST, "second": SECOND,
    }  # fmt: skip
    setup = (Given("notes.note", title="{title}"), Given("notes.note", title="{other}"))
    goals = (
        Add("notes.folder", name="{folder}"),
        Change("notes.note", {"title": "{title}"}, folder="{folder}"),
        Change("notes.note", {"title": "{other}"}, folder="{folder}"),
        Add("notes.note", title="{new}", folder="{folder}", first="{first}", second="{second}"),
    )
