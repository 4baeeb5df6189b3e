"""Notes: notebooks, ingredients, and to-dos that are left."""

import pytest

from perdure.envs.device import Episode, get_task
from tests.envs.device.hands import answer, begin, click, declare, seen, write

LEFT = {"notebook": "Travel", "title": "Lisbon trip", "second": "Camping gear", "other": "Work"}


def test_a_notebook_shows_its_own_notes():
    episode = begin("JoplinLeftToDo", "Joplin", **LEFT)
    click(episode, "Notebook", "Personal", "Travel")
    rows = [one for one in episode.phone.elements() if one.class_name == "ListItem"]
    assert sorted(one.details for one in rows) == [
        ("Note", "off"), ("To-do", "off"), ("To-do", "off"), ("To-do", "on"),
    ]  # fmt: skip
    left = [one.text for one in rows if one.details == ("To-do", "off")]
    assert sorted(left) == ["Camping gear", "Lisbon trip"]


@pytest.mark.parametrize(("given", "reward"), [
    ("Lisbon trip, Camping gear", 1.0), ("Camping gear,Lisbon trip", 1.0), ("Lisbon trip", 0.0),
    ("Lisbon trip, Camping gear, Lisbon trip", 0.0),
])  # fmt: skip
def test_all_that_is_left_is_answered_in_any_order(given, reward):
    episode = begin("JoplinLeftToDo", "Joplin", **LEFT)
    answer(episode, given)
    assert declare(episode) == reward


def test_an_ingredient_is_looked_up_from_its_recipe():
    params = {"ingredient": "Milk", "recipe": "Plum jam", "other": "Rye bread", "amount": "2 cups"}
    episode = begin("JoplinAmount", "Joplin", **params)
    click(episode, "Plum jam", "Ingredients", "Milk")
    assert seen(episode)[-3:] == ["Milk", "Plum jam", "2 cups"]
    answer(episode, "2 cups")
    assert declare(episode) == 1.0
    # The app, the note, its ingredients, the row, the answer, the declaration.
    assert episode.task.budget() - episode.left == 6
    episode = begin("JoplinAmount", "Joplin", **params)
    click(episode, "Ingredients")
    write(episode, Recipe="Rye bread")
    click(episode, "Milk")
    assert seen(episode)[-1] != "2 cups"


def test_numbers_of_notes_differ():
    numbers = {Episode(get_task("JoplinHowMany", index=index)).task.answers[0] for index in range(12)}
    assert len(numbers) > 2
