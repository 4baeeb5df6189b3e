"""What was spent: expenses, all of them and by category."""

from __future__ import annotations

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Choice, Date, Int, Text
from perdure.envs.device.goals import Add, Change, Read, Remove, RemoveCopies
from perdure.envs.device.screens import List, crud
from perdure.envs.device.task import Given, Slot, Task, template

NAMES = (
    "Groceries", "Taxi", "Cinema", "Electricity", "Train ticket", "Bakery", "Running shoes", "Pharmacy",
    "Fuel", "Headphones", "Restaurant", "Gift", "Parking", "Winter coat", "Phone bill", "Museum",
    "Coffee beans", "Garden tools", "Car insurance", "Swimming pool",
)  # fmt: skip
CATEGORIES = ("Food", "Travel", "Home", "Clothes", "Leisure", "Health", "Education", "Presents")
NOTES = (
    "paid in cash", "by card", "shared with Ada", "for the office", "on sale", "to be refunded",
    "second rate", "yearly", "receipt kept", "ordered online",
)  # fmt: skip
TODAY = "Nov 15"

APP = App(
    "expenses",
    "Expenses",
    records=(
        Record("expense", {
            "name": Text(*NAMES), "amount": Int(5, 300, 5), "category": Choice(*CATEGORIES),
            "date": Date(TODAY), "note": Text(*NOTES),
        }),
        One("view", {"category": Choice(*CATEGORIES)}, view=True),
    ),
    screens=(
        *crud(
            "expense", "Expenses", ("name", "amount", "date"), search="name",
            buttons={"Categories": "category"},
        ),
        List(
            "category", "expense", "Category", ("name", "amount", "date"), "expense.detail",
            controls=("view.category",), where=("category", Of("view", "category")),
        ),
    ),
)  # fmt: skip

NAME, AMOUNT = Slot("expenses.expense.name"), Slot("expenses.expense.amount")
CATEGORY, DATE = Slot("expenses.expense.category"), Slot("expenses.expense.date")
LOW = Slot("expenses.expense.amount", among=tuple(str(amount) for amount in range(5, 95, 5)))
LIMIT = Slot("expenses.expense.amount", among=("100", "120", "150"))
HIGH = Slot("expenses.expense.amount", among=tuple(str(amount) for amount in range(160, 305, 5)))


class Expenses(Task):
    """What tasks of this app have in common."""

    app_names: ClassVar[tuple[str, ...]] = ("expenses",)


@template
class ExpensesAdd(Expenses):
    """Add an expense."""

    template = "Add an expense: {name}, {amount} euros, in the category {category}."
    complexity = 2.0
    tags = ("data_entry",)
    schema = {"name": NAME, "amount": AMOUNT, "category": CATEGORY}
    goals = (Add("expenses.expense", name="{name}", amount="{amount}", category="{category}"),)


@template
class ExpensesAddThree(Expenses):
    """Add three expenses of one category."""

    template = (
        "Add three expenses in the category {category}: {name} for {amount} euros on {date}, {second} for "
        "{price} euros on {day}, and {third} for {cost} euros on {later}."
    )
    complexity = 6.0
    difficulty = "hard"
    tags = ("data_entry", "repetition")
    schema = {
        "category": CATEGORY, "name": NAME, "amount": AMOUNT, "date": DATE, "second": NAME, "price": AMOUNT,
        "day": DATE, "third": NAME, "cost": AMOUNT, "later": DATE,
    }  # fmt: skip
    goals = tuple(
        Add("expenses.expense", name=name, amount=amount, category="{category}", date=date)
        for name, amount, date in (
            ("{name}", "{amount}", "{date}"),
            ("{second}", "{price}", "{day}"),
            ("{third}", "{cost}", "{later}"),
        )
    )


@template
class ExpensesAddFromMessages(Expenses):
    """Add an expense that somebody has written about, in two messages."""

    template = (
        "Two text messages from {contact} say what was bought and how many euros it cost. Add that as an "
        "expense of {date}, under the name that the message gives."
    )
    app_names = ("expenses", "sms")
    complexity = 3.0
    difficulty = "medium"
    tags = ("data_entry", "multi_app", "transcription")
    schema = {"contact": Slot("sms.message.contact"), "date": DATE, "name": NAME, "amount": AMOUNT}
    setup = (
        Given("sms.message", contact="{contact}", body="{name}", folder="Inbox"),
        Given("sms.message", contact="{contact}", body="{amount}", folder="Inbox"),
    )
    goals = (
        Read("sms.message", contact="{contact}"),
        Add("expenses.expense", name="{name}", amount="{amount}", date="{date}"),
    )


@template
class ExpensesCorrect(Expenses):
    """Correct the amount of an expense."""

    template = "The expense {name} was {amount} euros: correct it."
    complexity = 1.6
    tags = ("data_edit",)
    schema = {"name": NAME, "amount": AMOUNT, "wrong": AMOUNT}
    setup = (Given("expenses.expense", name="{name}", amount="{wrong}"),)
    goals = (Change("expenses.expense", {"name": "{name}"}, amount="{amount}"),)


@template
class ExpensesDelete(Expenses):
    """Delete an expense, and not the other one of the same name."""

    template = "Delete the expense {name} of {date}."
    complexity = 1.2
    tags = ("data_edit",)
    schema = {"name": NAME, "date": DATE, "other": DATE}
    setup = (
        Given("expenses.expense", name="{name}", date="{date}"),
        Given("expenses.expense", name="{name}", date="{other}"),
    )
    goals = (Remove("expenses.expense", name="{name}", date="{date}"),)


@template
class ExpensesDeleteThree(Expenses):
    """Delete three expenses."""

    template = "Delete these expenses: {name}, {second} and {third}."
    complexity = 2.4
    tags = ("data_edit", "repetition")
    schema = {"name": NAME, "second": NAME, "third": NAME}
    setup = tuple(Given("expenses.expense", name=name) for name in ("{name}", "{second}", "{third}"))
    goals = tuple(Remove("expenses.expense", name=name) for name in ("{name}", "{second}", "{third}"))


@template
class ExpensesDeleteDuplicates(Expenses):
    """Find the expenses of a day that were entered twice, and delete one of each two."""

    template = (
        "Some expenses of {date} were entered twice. Delete what is too much: of equal ones, leave one."
    )
    complexity = 1.8
    difficulty = "medium"
    tags = ("data_edit", "screen_reading", "repetition")
    schema = {
        "date": DATE, "name": NAME, "amount": AMOUNT, "category": CATEGORY, "second": NAME, "price": AMOUNT,
        "third": NAME,
    }  # fmt: skip
    setup = (
        *(
            Given("expenses.expense", name=name, amount=amount, category="{category}", date="{date}", note="")
            for name, amount in (("{name}", "{amount}"), ("{second}", "{price}")) * 2
        ),
        Given("expenses.expense", name="{third}", date="{date}"),
    )
    goals = (
        RemoveCopies("expenses.expense", name="{name}"),
        RemoveCopies("expenses.expense", name="{second}"),
    )


@template
class ExpensesDeleteCopies(Expenses):
    """Delete the copies of an expense, but not those that differ in the amount or in the day."""

    template = (
        "The expense {name} is there several times. Of those that are the same in all fields leave one; "
        "those that differ in the amount or the date stay."
    )
    complexity = 1.8
    difficulty = "hard"
    tags = ("data_edit", "screen_reading", "search")
    schema = {
        "name": NAME, "amount": AMOUNT, "category": CATEGORY, "date": DATE,
        "note": Slot("expenses.expense.note"), "price": AMOUNT, "later": DATE,
    }  # fmt: skip
    setup = tuple(
        Given(
            "expenses.expense", name="{name}", amount=amount, category="{category}", date=date, note="{note}"
        )
        for amount, date in (*(("{amount}", "{date}"),) * 3, ("{price}", "{date}"), ("{amount}", "{later}"))
    )
    goals = (RemoveCopies("expenses.expense", name="{name}", amount="{amount}", date="{date}"),)


@template
class ExpensesDeleteExpensive(Expenses):
    """Delete the expenses of a category that cost more than some limit."""

    template = "Delete all expenses in the category {category} of more than {limit} euros."
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "screen_reading", "repetition")
    schema = {"category": CATEGORY, "limit": LIMIT, "amount": HIGH, "price": HIGH, "less": LOW}
    setup = tuple(
        Given("expenses.expense", category="{category}", amount=amount)
        for amount in ("{amount}", "{price}", "{less}")
    )
    goals = (
        Remove("expenses.expense", category="{category}", amount="{amount}"),
        Remove("expenses.expense", category="{category}", amount="{price}"),
    )
