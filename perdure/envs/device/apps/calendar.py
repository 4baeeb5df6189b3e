"""A calendar: events of a month, as a whole and by the day."""

from perdure.envs.device.declare import App, Of, One, Record, set_one
from perdure.envs.device.fields import Choice, Date, Text, Time
from perdure.envs.device.goals import Add, Answer, Change, Number, Remove, Set
from perdure.envs.device.screens import List, New, crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Gym", "Dentist", "Team meeting", "Lunch with Ada", "Piano lesson", "Book club", "Job interview",
    "Project review", "Birthday party", "Yoga class", "Car service", "Parent evening", "Concert",
    "Budget call", "Haircut", "Eye test", "Chess evening", "Choir", "House viewing", "Farewell party",
)  # fmt: skip
PLACES = (
    "Main street 5", "Room 12", "City hall", "Cafe Blau", "Online", "Station", "Library hall",
    "Riverside park", "School", "Gallery",
)  # fmt: skip
TODAY, TOMORROW, NEXT_WEEK = "Nov 15", "Nov 16", "Nov 22"
EARLY, NOON, LATE = ("08:00", "08:30", "09:00"), ("12:00", "12:30", "13:00"), ("15:00", "16:30", "18:00")

APP = App(
    "calendar",
    "Calendar",
    records=(
        Record("event", {
            "title": Text(*TITLES), "date": Date(TODAY), "time": Time(),
            "duration": Choice("30 minutes", "45 minutes", "1 hour", "2 hours"), "place": Text(*PLACES),
            "repeats": Choice("Never", "Every day", "Every week", "Every month"),
        }),
        One("view", {"date": Date(TODAY, label="Day")}, view=True),
    ),
    screens=(
        *crud("event", "Calendar", ("title", "date", "time"), search="title", buttons={"Day": "day"}),
        List(
            "day", "event", "Day", ("title", "time", "duration"), "event.detail", controls=("view.date",),
            where=("date", Of("view", "date")),
            buttons={
                "Add": New("event.form", {"date": Of("view", "date")}),
                "Today": set_one("view", date=TODAY), "Tomorrow": set_one("view", date=TOMORROW),
                "In a week": set_one("view", date=NEXT_WEEK),
            },
        ),
    ),
)  # fmt: skip

TITLE, DATE, TIME = Slot("calendar.event.title"), Slot("calendar.event.date"), Slot("calendar.event.time")
PLACE, DURATION = Slot("calendar.event.place"), Slot("calendar.event.duration")


class Calendar(Task):
    """What tasks of this app have in common."""

    app_names = ("calendar",)


@template
class CalendarAddEvent(Calendar):
    """Add an event."""

    template = "Add an event called {title} to the calendar, on {date} at {time}."
    complexity = 2.0
    tags = ("data_entry",)
    schema = {"title": TITLE, "date": DATE, "time": TIME}
    goals = (Add("calendar.event", title="{title}", date="{date}", time="{time}"),)


@template
class CalendarAddWhole(Calendar):
    """Add an event with all that there is to say of it."""

    template = (
        "Add an event to the calendar: {title}, on {date} at {time}, for {duration}, at the place {place}."
    )
    complexity = 3.0
    difficulty = "medium"
    tags = ("data_entry", "complex_ui")
    schema = {"title": TITLE, "date": DATE, "time": TIME, "duration": DURATION, "place": PLACE}
    goals = (
        Add(
            "calendar.event",
            title="{title}",
            date="{date}",
            time="{time}",
            duration="{duration}",
            place="{place}",
        ),
    )


@template
class CalendarAddTomorrow(Calendar):
    """Add an event on the day after today."""

    template = "Add an event called {title} to the calendar, tomorrow at {time}."
    complexity = 2.4
    tags = ("data_entry",)
    schema = {"title": TITLE, "time": TIME}
    goals = (
        Set("calendar.view", date=TOMORROW),
        Add("calendar.event", "calendar/day", title="{title}", date=TOMORROW, time="{time}"),
    )


@template
class CalendarAddNextWeek(Calendar):
    """Add an event a week from today."""

    template = (
        "Add an event called {title} to the calendar, a week from today at {time}, at the place {place}."
    )
    complexity = 2.8
    difficulty = "medium"
    tags = ("data_entry",)
    schema = {"title": TITLE, "time": TIME, "place": PLACE}
    goals = (
        Set("calendar.view", date=NEXT_WEEK),
        Add(
            "calendar.event", "calendar/day", title="{title}", date=NEXT_WEEK, time="{time}", place="{place}"
        ),
    )


@template
class CalendarAddRepeating(Calendar):
    """Add an event that repeats."""

    template = (
        "Add an event called {title} that is repeated {repeats}, for the first time on {date} at {time}."
    )
    complexity = 2.8
    difficulty = "medium"
    tags = ("data_entry", "complex_ui")
    schema = {
        "title": TITLE, "date": DATE, "time": TIME,
        "repeats": Slot("calendar.event.repeats", among=("Every day", "Every week", "Every month")),
    }  # fmt: skip
    goals = (Add("calendar.event", title="{title}", date="{date}", time="{time}", repeats="{repeats}"),)


@template
class CalendarAddTwo(Calendar):
    """Add two events."""

    template = (
        "Add two events to the calendar: {title} on {date} at {time}, and {second} on {later} at {hour} "
        "at the place {place}."
    )
    complexity = 4.4
    difficulty = "hard"
    tags = ("data_entry", "repetition")
    schema = {
        "title": TITLE,
        "date": DATE,
        "time": TIME,
        "second": TITLE,
        "later": DATE,
        "hour": TIME,
        "place": PLACE,
    }
    goals = (
        Add("calendar.event", title="{title}", date="{date}", time="{time}"),
        Add("calendar.event", title="{second}", date="{later}", time="{hour}", place="{place}"),
    )


@template
class CalendarMoveEvent(Calendar):
    """Move an event to another day."""

    template = "Move the event {title} in the calendar to {date}."
    complexity = 1.6
    tags = ("data_edit",)
    schema = {"title": TITLE, "date": DATE, "before": DATE}
    setup = (Given("calendar.event", title="{title}", date="{before}"),)
    goals = (Change("calendar.event", {"title": "{title}"}, date="{date}"),)


@template
class CalendarPostpone(Calendar):
    """Change when an event is and how long it takes, where another one of the same name is not meant."""

    template = (
        "The event {title} on {date} now begins at {time} and takes {duration}: change it in the calendar."
    )
    complexity = 2.4
    difficulty = "medium"
    tags = ("data_edit", "search")
    schema = {
        "title": TITLE, "date": DATE, "time": TIME, "duration": DURATION, "other": DATE, "before": TIME,
        "shorter": DURATION,
    }  # fmt: skip
    setup = (
        Given("calendar.event", title="{title}", date="{date}", time="{before}", duration="{shorter}"),
        Given("calendar.event", title="{title}", date="{other}"),
    )
    goals = (
        Change(
            "calendar.event", {"title": "{title}", "date": "{date}"}, time="{time}", duration="{duration}"
        ),
    )


@template
class CalendarSwap(Calendar):
    """Let two events exchange their times."""

    template = (
        "Let the events {title} and {second} exchange their times: {title} at {time}, {second} at {hour}."
    )
    complexity = 3.6
    difficulty = "hard"
    tags = ("data_edit", "repetition")
    schema = {"title": TITLE, "second": TITLE, "time": TIME, "hour": TIME}
    setup = (
        Given("calendar.event", title="{title}", time="{hour}"),
        Given("calendar.event", title="{second}", time="{time}"),
    )
    goals = (
        Change("calendar.event", {"title": "{title}"}, time="{time}"),
        Change("calendar.event", {"title": "{second}"}, time="{hour}"),
    )


@template
class CalendarDeleteEvent(Calendar):
    """Delete an event, and not the other one of the same name."""

    template = "Delete the event {title} on {date} from the calendar."
    complexity = 1.2
    tags = ("data_edit",)
    schema = {"title": TITLE, "date": DATE, "other": DATE}
    setup = (
        Given("calendar.event", title="{title}", date="{date}"),
        Given("calendar.event", title="{title}", date="{other}"),
    )
    goals = (Remove("calendar.event", title="{title}", date="{date}"),)


@template
class CalendarDeleteDay(Calendar):
    """Delete all events of a day."""

    template = "Delete all events on {date} from the calendar."
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "repetition")
    schema = {"date": DATE}
    setup = (Given("calendar.event", date="{date}"), Given("calendar.event", date="{date}"))
    goals = (Remove("calendar.event", date="{date}"),)


@template
class CalendarDeleteTomorrow(Calendar):
    """Delete all events of the day after today."""

    template = "Delete all events of tomorrow from the calendar."
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "repetition")
    schema = {"date": Slot("calendar.event.date", among=(TOMORROW,))}
    setup = (Given("calendar.event", date="{date}"), Given("calendar.event", date="{date}"))
    goals = (Remove("calendar.event", date="{date}"),)


@template
class CalendarWhatIsAt(Calendar):
    """Find out what is at some time of a day."""

    template = "What is in the calendar on {date} at {time}?"
    complexity = 1.0
    tags = ("information_retrieval",)
    schema = {"date": DATE, "time": TIME, "title": TITLE, "other": TIME}
    setup = (
        Given("calendar.event", title="{title}", date="{date}", time="{time}"),
        Given("calendar.event", date="{date}", time="{other}"),
    )
    goals = (Answer("calendar.event", "title", date="{date}", time="{time}"),)


@template
class CalendarWhere(Calendar):
    """Find out where an event is."""

    template = "At what place is the event {title}?"
    complexity = 1.0
    tags = ("information_retrieval",)
    schema = {"title": TITLE, "place": PLACE}
    setup = (Given("calendar.event", title="{title}", place="{place}"),)
    goals = (Answer("calendar.event", "place", title="{title}"),)


@template
class CalendarHowMany(Calendar):
    """Find out how many events a day has."""

    template = "How many events are there on {date}?"
    complexity = 1.2
    tags = ("information_retrieval", "search")
    schema = {"date": DATE}
    setup = (Given("calendar.event", date="{date}"), Given("calendar.event", date="{date}"))
    goals = (Number("calendar.event", date="{date}"),)


@template
class CalendarAllOn(Calendar):
    """Find out all that a day has."""

    template = "What are the names of all events on {date}? Answer one after the other, or with commas."
    complexity = 2.4
    difficulty = "medium"
    tags = ("information_retrieval", "search")
    schema = {"date": DATE, "title": TITLE, "second": TITLE, "third": TITLE}
    setup = tuple(
        Given("calendar.event", title=title, date="{date}") for title in ("{title}", "{second}", "{third}")
    )
    goals = (Answer("calendar.event", "title", date="{date}"),)


@template
class CalendarFirstAfter(Calendar):
    """Find out what comes first after some time of a day."""

    template = "Which event is the first on {date} that begins after {time}?"
    complexity = 1.2
    difficulty = "hard"
    tags = ("information_retrieval", "screen_reading")
    schema = {
        "date": DATE, "time": Slot("calendar.event.time", among=("10:00", "10:30", "11:00")), "title": TITLE,
        "before": Slot("calendar.event.time", among=EARLY), "next": Slot("calendar.event.time", among=NOON),
        "late": Slot("calendar.event.time", among=LATE),
    }  # fmt: skip
    setup = (
        Given("calendar.event", date="{date}", time="{before}"),
        Given("calendar.event", title="{title}", date="{date}", time="{next}"),
        Given("calendar.event", date="{date}", time="{late}"),
    )
    goals = (Answer("calendar.event", "title", date="{date}", time="{next}"),)
