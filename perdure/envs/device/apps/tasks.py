"""What is to be done: tasks with the day when they are due, all of them, by the day and by the list."""

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Bool, Choice, Date, Text
from perdure.envs.device.goals import Add, Answer, Change, Number
from perdure.envs.device.screens import List, crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Water the plants", "Renew the passport", "Call the bank", "Clean the windows", "Book the flight",
    "Return the books", "Fix the bicycle", "Order new glasses", "Write the report", "Pay the rent",
    "Feed the neighbours' cat", "Sort the photos", "Update the website", "Buy stamps", "Plan the holiday",
    "Cancel the magazine", "Collect the parcel", "Prepare the talk", "Change the tyres", "Descale the kettle",
)  # fmt: skip
NOTES = (
    "before noon", "ask for a discount", "takes an hour", "Ada knows more", "only on weekdays",
    "bring the card", "second attempt", "no hurry", "needs two people", "see the letter",
)  # fmt: skip
LISTS = ("Home", "Work", "Garden", "Errands", "Club", "School")
PRIORITIES = ("Low", "Medium", "High", "Urgent")
TODAY = "Nov 15"

APP = App(
    "tasks",
    "Tasks",
    records=(
        Record("task", {
            "title": Text(*TITLES), "due": Date(TODAY), "priority": Choice(*PRIORITIES),
            "list": Choice(*LISTS), "done": Bool(), "note": Text(*NOTES),
        }),
        One("view", {"due": Date(TODAY, label="Day"), "list": Choice(*LISTS)}, view=True),
    ),
    screens=(
        *crud(
            "task", "Tasks", ("title", "due", "priority"), search="title", changes=("done",),
            buttons={"Day": "day", "Lists": "list", "Open": "open", "Completed": "completed"},
        ),
        List(
            "day", "task", "Day", ("title", "priority"), "task.detail", controls=("view.due",),
            where=("due", Of("view", "due")),
        ),
        List(
            "list", "task", "List", ("title", "due", "priority"), "task.detail", controls=("view.list",),
            where=("list", Of("view", "list")),
        ),
        *(List(name, "task", name.capitalize(), ("title", "due", "priority"), "task.detail",
               where=("done", done))
          for name, done in (("open", False), ("completed", True))),
    ),
)  # fmt: skip

TITLE, DUE, PRIORITY = Slot("tasks.task.title"), Slot("tasks.task.due"), Slot("tasks.task.priority")


class Tasks(Task):
    """What tasks of this app have in common."""

    app_names = ("tasks",)


@template
class TasksComplete(Tasks):
    """Mark a task as done."""

    template = "Mark {title} in the tasks as done."
    complexity = 0.8
    tags = ("data_edit",)
    schema = {"title": TITLE}
    setup = (Given("tasks.task", title="{title}", done=False),)
    goals = (Change("tasks.task", {"title": "{title}"}, done=True),)


@template
class TasksAdd(Tasks):
    """Add a task."""

    template = "Add {title} to the tasks, due on {due}, with the priority {priority}."
    complexity = 2.0
    tags = ("data_entry",)
    schema = {
        "title": TITLE, "due": DUE, "priority": Slot("tasks.task.priority", among=PRIORITIES[1:]),
    }  # fmt: skip
    goals = (Add("tasks.task", title="{title}", due="{due}", priority="{priority}"),)


@template
class TasksDueOn(Tasks):
    """Find out what is due on some day."""

    template = "Which tasks are due on {due}? Answer with their titles, one after the other, or with commas."
    complexity = 1.6
    tags = ("information_retrieval", "search")
    schema = {"due": DUE, "title": TITLE, "second": TITLE}
    setup = tuple(Given("tasks.task", title=title, due="{due}") for title in ("{title}", "{second}"))
    goals = (Answer("tasks.task", "title", due="{due}"),)


@template
class TasksHowMany(Tasks):
    """Find out how many tasks a list has."""

    template = "How many tasks does the list {list} have?"
    complexity = 1.2
    tags = ("information_retrieval", "search")
    # No slot of the field: among the records at random there may be more of the list.
    schema = {"list": Slot(among=LISTS)}
    setup = (Given("tasks.task", list="{list}"),)
    goals = (Number("tasks.task", list="{list}"),)
    noise = {"tasks.task": (5, 9)}


@template
class TasksStillOpen(Tasks):
    """Find out which tasks of a priority are not done yet."""

    template = "Which tasks with the priority {priority} are not done yet? Answer with the titles of all."
    complexity = 2.2
    difficulty = "medium"
    tags = ("information_retrieval", "screen_reading")
    schema = {"priority": PRIORITY, "title": TITLE, "second": TITLE, "third": TITLE}
    setup = (
        *(Given("tasks.task", title=title, priority="{priority}", done=False)
          for title in ("{title}", "{second}", "{third}")),
        Given("tasks.task", priority="{priority}", done=True),
    )  # fmt: skip
    goals = (Answer("tasks.task", "title", priority="{priority}", done=False),)


@template
class TasksPostpone(Tasks):
    """Move all that is not done on some day to another day."""

    template = "Let all tasks that are due on {due} and not done yet be due on {later}."
    complexity = 3.4
    difficulty = "hard"
    tags = ("data_edit", "repetition", "screen_reading")
    schema = {"due": DUE, "later": DUE}
    setup = (
        *(Given("tasks.task", due="{due}", done=False),) * 3,
        Given("tasks.task", due="{due}", done=True),
    )
    goals = (Change("tasks.task", {"due": "{due}", "done": False}, due="{later}"),)
