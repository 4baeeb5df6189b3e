"""A tracker of sports: activities with their distances and durations, by the day and by the sport."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Choice, Date, Int, Text
from perdure.envs.device.goals import Add, Answer, Number, Read
from perdure.envs.device.screens import List, crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Morning round", "Evening round", "Lake loop", "Hill repeats", "Old railway", "Long Sunday", "Easy start",
    "Interval day", "City lights", "Forest trail", "Coast path", "Bridge circuit", "Lunch break", "Race day",
    "Club outing", "With the dog", "Mountain pass", "Canal way", "Test of shoes", "Rainy hour",
)  # fmt: skip
SPORTS = ("Running", "Cycling", "Hiking", "Swimming", "Walking", "Rowing", "Skiing", "Skating")
TODAY = "Nov 15"

APP = App(
    "sports",
    "Sports",
    records=(
        Record("activity", {
            "title": Text(*TITLES), "date": Date(TODAY), "sport": Choice(*SPORTS),
            "distance": Int(1, 60, label="Kilometres"),
            "duration": Int(10, 240, 5, default=30, label="Minutes"),
            "climb": Int(0, 900, 50, label="Metres up"),
        }),
        One("view", {"date": Date(TODAY, label="Day"), "sport": Choice(*SPORTS)}, view=True),
    ),
    screens=(
        *crud(
            "activity", "Activities", ("title", "date", "sport"), search="title",
            buttons={"Day": "day", "By sport": "sport"},
        ),
        List(
            "day", "activity", "Day", ("title", "sport"), "activity.detail", controls=("view.date",),
            where=("date", Of("view", "date")),
        ),
        List(
            "sport", "activity", "Sport", ("title", "date"), "activity.detail", controls=("view.sport",),
            where=("sport", Of("view", "sport")),
        ),
    ),
)  # fmt: skip

TITLE, DATE, SPORT = (
    Slot("sports.activity.title"),
    Slot("sports.activity.date"),
    Slot("sports.activity.sport"),
)
DISTANCE, DURATION = Slot("sports.activity.distance"), Slot("sports.activity.duration")
NEAR = Slot("sports.activity.distance", among=tuple(str(far) for far in range(1, 15)))
FAR = Slot("sports.activity.distance", among=tuple(str(far) for far in range(20, 35)))
FURTHER = Slot("sports.activity.distance", among=tuple(str(far) for far in range(40, 61)))


class Sports(Task):
    """What tasks of this app have in common."""

    app_names = ("sports",)
    tags: ClassVar[tuple[str, ...]] = ("information_retrieval",)


@template
class SportsHowMany(Sports):
    """Find out how often a sport was done."""

    template = "How many activities of the sport {sport} are there?"
    complexity = 1.2
    tags = ("information_retrieval", "search")
    # No slot of the field: among the records at random there may be more of the sport.
    schema = {"sport": Slot(among=SPORTS)}
    setup = (Given("sports.activity", sport="{sport}"),)
    goals = (Number("sports.activity", sport="{sport}"),)
    noise = {"sports.activity": (5, 9)}


@template
class SportsOnDay(Sports):
    """Find out which sports were done on some day."""

    template = "Which sports were done on {date}? Answer one after the other, or with commas."
    complexity = 1.6
    schema = {"date": DATE, "sport": SPORT, "second": SPORT}
    setup = tuple(Given("sports.activity", date="{date}", sport=sport) for sport in ("{sport}", "{second}"))
    goals = (Answer("sports.activity", "sport", date="{date}"),)


@template
class SportsDistance(Sports):
    """Find out how long the way of an activity was, and not that of another one of the same name."""

    template = "How many kilometres long was the activity {title} on {date}?"
    complexity = 0.8
    schema = {"title": TITLE, "date": DATE, "distance": DISTANCE, "other": DATE}
    setup = (
        Given("sports.activity", title="{title}", date="{date}", distance="{distance}"),
        Given("sports.activity", title="{title}", date="{other}"),
    )
    goals = (Answer("sports.activity", "distance", title="{title}", date="{date}"),)


@template
class SportsFurthest(Sports):
    """Find out which activity of a sport went furthest; the distance is not in the list."""

    template = "What is the title of the activity with the most kilometres of the sport {sport}?"
    complexity = 1.8
    difficulty = "medium"
    tags = ("information_retrieval", "screen_reading")
    schema = {"sport": SPORT, "title": TITLE, "far": FAR, "near": NEAR, "nearer": NEAR, "further": FURTHER}
    setup = (
        Given("sports.activity", title="{title}", sport="{sport}", distance="{far}"),
        Given("sports.activity", sport="{sport}", distance="{near}"),
        Given("sports.activity", sport="{sport}", distance="{nearer}"),
        Given("sports.activity", distance="{further}"),
    )
    # Nobody knows which one it is before having seen all three.
    goals = (
        Read("sports.activity", sport="{sport}"),
        Answer("sports.activity", "title", sport="{sport}", distance="{far}"),
    )


@template
class SportsDurations(Sports):
    """Find out how long each activity of a sport took."""

    template = "How many minutes did each activity of the sport {sport} take? Answer one after the other."
    complexity = 2.2
    difficulty = "medium"
    tags = ("information_retrieval", "repetition")
    schema = {"sport": SPORT, "duration": DURATION, "second": DURATION, "third": DURATION}
    setup = tuple(
        Given("sports.activity", sport="{sport}", duration=duration)
        for duration in ("{duration}", "{second}", "{third}")
    )
    goals = (Answer("sports.activity", "duration", sport="{sport}"),)


@template
class SportsRepeat(Sports):
    """Add an activity that went as far as another one."""

    template = (
        "Add an activity of today called {title}, of the sport {sport}, with as many kilometres as {other} "
        "has on {date}."
    )
    complexity = 3.0
    difficulty = "medium"
    tags = ("data_entry", "transcription")
    schema = {
        "title": TITLE,
        "sport": SPORT,
        "other": TITLE,
        "date": DATE,
        "distance": DISTANCE,
        "before": DATE,
    }
    setup = (
        Given("sports.activity", title="{other}", date="{date}", distance="{distance}"),
        Given("sports.activity", title="{other}", date="{before}"),
    )
    goals = (
        Read("sports.activity", title="{other}", date="{date}"),
        Add("sports.activity", title="{title}", sport="{sport}", distance="{distance}"),
    )
