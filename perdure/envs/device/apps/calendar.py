"""A calendar: events of a month."""

from perdure.envs.device.declare import App, Record
from perdure.envs.device.fields import Choice, Date, Text, Time
from perdure.envs.device.goals import Add, Remove
from perdure.envs.device.screens import crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Gym", "Dentist", "Team meeting", "Lunch with Ada", "Piano lesson", "Book club", "Job interview",
    "Project review", "Birthday party", "Yoga class", "Car service", "Parent evening", "Concert", "Budget call",
)  # fmt: skip
PLACES = ("Main street 5", "Room 12", "City hall", "Cafe Blau", "Online", "Station", "Library hall")

APP = App(
    "calendar",
    "Calendar",
    records=(
        Record("event", {
            "title": Text(*TITLES), "date": Date(), "time": Time(),
            "duration": Choice("30 minutes", "45 minutes", "1 hour", "2 hours"), "place": Text(*PLACES),
        }),
    ),
    screens=crud("event", "Calendar", ("title", "date", "time"), search="title"),
)  # fmt: skip


@template
class CalendarAddEvent(Task):
    """Add an event."""

    template = "Add an event called {title} to the calendar, on {date} at {time}."
    app_names = ("calendar",)
    complexity = 1.6
    tags = ("data_entry",)
    schema = {
        "title": Slot("calendar.event.title"), "date": Slot("calendar.event.date"),
        "time": Slot("calendar.event.time"),
    }  # fmt: skip
    goals = (Add("calendar.event", title="{title}", date="{date}", time="{time}"),)


@template
class CalendarDeleteDay(Task):
    """Delete all events of a day."""

    template = "Delete all events on {date} from the calendar."
    app_names = ("calendar",)
    complexity = 1.6
    tags = ("data_edit",)
    schema = {"date": Slot("calendar.event.date")}
    setup = (Given("calendar.event", date="{date}"), Given("calendar.event", date="{date}"))
    goals = (Remove("calendar.event", date="{date}"),)
