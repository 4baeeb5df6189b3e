"""Expenses: copies deleted by hand, which ones stay, and what two messages say."""

import pytest

from perdure.core.errors import PerdureError
from perdure.envs.device import Action, Episode, Phone, get_task, templates
from perdure.envs.device.goals import Read, RemoveCopies

COPIES = {
    "name": "Taxi", "amount": "25", "category": "Travel", "date": "Nov 3", "note": "by card", "price": "40",
    "later": "Nov 9",
}  # fmt: skip


def begin(episode):
    episode.step(Action("open_app", app_name="Expenses"))


def click(episode, *texts):
    """Click on the elements with some texts or labels, one after the other."""
    for text in texts:
        found = (one for one in episode.phone.elements() if text in (one.text, *one.details[:1]))
        episode.step(Action("click", index=next(found).index))


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def taxis():
    """Return an episode that shows all expenses called Taxi."""
    episode = Episode(templates()["ExpensesDeleteCopies"](COPIES, seed=1))
    begin(episode)
    click(episode, "Search", "Query")
    episode.step(Action("input_text", text="Taxi"))
    return episode


def delete(episode, amount, date):
    """Delete the first expense of an amount and a day that is shown; look at the others of the name again."""
    row = next(one for one in episode.phone.elements() if one.details == (amount, date))
    episode.step(Action("click", index=row.index))
    click(episode, "Delete", "OK", "Search", "Query")
    episode.step(Action("input_text", text="Taxi"))


def shown(episode):
    return sorted(one.details for one in episode.phone.elements() if one.class_name == "ListItem")


def test_copies_deleted_by_hand():
    episode = taxis()
    one, dearer, later = ("25", "Nov 3"), ("40", "Nov 3"), ("25", "Nov 9")
    assert shown(episode) == [one, one, one, later, dearer]
    episode.left = 20
    delete(episode, *one)
    delete(episode, *one)
    assert shown(episode) == [one, later, dearer]
    assert declare(episode) == 1.0


@pytest.mark.parametrize("wrong", [("40", "Nov 3"), ("25", "Nov 9")])
def test_what_differs_is_no_copy(wrong):
    episode = taxis()
    episode.left = 20
    delete(episode, "25", "Nov 3")
    delete(episode, *wrong)
    assert declare(episode) == 0.0


def test_of_three_copies_neither_two_nor_none_are_left():
    for deleted in (1, 3):
        episode = taxis()
        episode.left = 30
        for _ in range(deleted):
            delete(episode, "25", "Nov 3")
        assert declare(episode) == 0.0


def test_copies_are_several_and_equal():
    task = get_task("ExpensesDeleteCopies")
    phone = Phone(task.catalogue)
    phone.add("expenses.expense", {"name": "Fuel", "amount": 50})
    goal = RemoveCopies("expenses.expense", name="Fuel")
    with pytest.raises(PerdureError, match=r"several equal records of .*Fuel"):
        goal.reach(task.catalogue, phone.contents, {})
    phone.add("expenses.expense", {"name": "Fuel", "amount": 55})
    with pytest.raises(PerdureError, match="several equal records"):
        goal.reach(task.catalogue, phone.contents, {})


def test_only_what_is_dearer_than_the_limit_goes():
    params = {"category": "Food", "limit": "120", "amount": "160", "price": "165", "less": "90"}
    task = templates()["ExpensesDeleteExpensive"](params)
    episode = Episode(task)
    before = {one["amount"] for one in episode.phone.records("expenses.expense") if one["category"] == "Food"}
    assert before == {90, 160, 165}
    assert episode.play(episode.oracle()) == 1.0
    left = [one["amount"] for one in episode.phone.records("expenses.expense") if one["category"] == "Food"]
    assert left == [90]


def test_messages_say_what_to_add():
    task = get_task("ExpensesAddFromMessages")
    episode = Episode(task)
    hidden = [name for name, known in zip(task.params, episode.known, strict=True) if not known]
    assert hidden == ["name", "amount"]
    for action in Read("sms.message", contact=task.params["contact"]).steps(episode.oracle()):
        episode.step(action)
    assert all(episode.known)
