"""A clock: timers, and stopwatches that each have a name."""

from perdure.envs.device.declare import App, Record, put
from perdure.envs.device.fields import Bool, Int, Text
from perdure.envs.device.goals import Add, Change
from perdure.envs.device.screens import Detail, List, Page, crud
from perdure.envs.device.task import Given, Slot, Task, template

LABELS = (
    "Pasta", "Laundry", "Nap", "Bread oven", "Parking", "Meditation", "Tea", "Face mask", "Stretching",
    "Phone break",
)  # fmt: skip
WATCHES = (
    "Morning run", "Swimming", "Commute", "Chess move", "Push-ups", "Homework", "Cycling", "Piano scales",
    "Sprint", "Rowing",
)  # fmt: skip
ELAPSED = ("00:00", "00:12", "00:47", "01:30", "02:05", "03:41", "05:18", "09:56", "14:20")

APP = App(
    "clock",
    "Clock",
    records=(
        Record(
            "timer",
            {
                "label": Text(*LABELS), "hours": Int(0, 23), "minutes": Int(0, 59), "seconds": Int(0, 59),
                "running": Bool(),
            },
            8, (1, 3),
        ),
        Record(
            "stopwatch",
            {"name": Text(*WATCHES), "elapsed": Text(*ELAPSED, default=ELAPSED[0]), "running": Bool()},
            noise=(2, 6),
        ),
    ),
    screens=(
        Page("main", "Clock", links={"Timers": "timer.list", "Stopwatches": "stopwatches"}),
        *crud("timer", "Timers", ("label", "running"), changes=("running",)),
        List("stopwatches", "stopwatch", "Stopwatches", ("name", "running"), "stopwatch"),
        Detail(
            "stopwatch", "stopwatch", "Stopwatch", up="stopwatches",
            buttons={
                "Start": put(running=True), "Pause": put(running=False),
                "Reset": put(running=False, elapsed=ELAPSED[0]),
            },
        ),
    ),
)  # fmt: skip

WATCH = Slot("clock.stopwatch.name")


class Clock(Task):
    """What tasks of this app have in common."""

    app_names = ("clock",)
    complexity = 1.2
    tags = ("complex_ui",)


@template
class ClockStart(Clock):
    """Start a stopwatch."""

    template = "Start the stopwatch called {name}."
    schema = {"name": WATCH}
    setup = (Given("clock.stopwatch", name="{name}", running=False),)
    goals = (Change("clock.stopwatch", {"name": "{name}"}, running=True),)


@template
class ClockPause(Clock):
    """Pause a stopwatch without losing its time."""

    template = "Pause the stopwatch called {name}, which is running. It should keep its time."
    schema = {"name": WATCH, "elapsed": Slot("clock.stopwatch.elapsed", ELAPSED[1:])}
    setup = (Given("clock.stopwatch", name="{name}", elapsed="{elapsed}", running=True),)
    goals = (Change("clock.stopwatch", {"name": "{name}"}, running=False),)


@template
class ClockTimer(Clock):
    """Set a timer without starting it."""

    template = (
        "Set a timer {label} to {hours} hours, {minutes} minutes, {seconds} seconds, but do not start it."
    )
    complexity = 2.6
    tags = ("data_entry",)
    schema = {
        "label": Slot("clock.timer.label"), "hours": Slot("clock.timer.hours", tuple(map(str, range(1, 24)))),
        "minutes": Slot("clock.timer.minutes", tuple(map(str, range(1, 60)))),
        "seconds": Slot("clock.timer.seconds", tuple(map(str, range(1, 60)))),
    }  # fmt: skip
    goals = (Add("clock.timer", label="{label}", hours="{hours}", minutes="{minutes}", seconds="{seconds}"),)
