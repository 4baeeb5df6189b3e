"""Recipes: copies deleted by hand, the shopping list, the plan."""

from perdure.envs.device import Action, Episode, get_task, templates
from tests.envs.device.hands import click, start

COPIES = {
    "category": "Soup", "title": "Ramen", "second": "Goulash", "main": "Noodles", "beside": "Beef",
    "time": "30 minutes", "longer": "2 hours", "directions": "Boil and drain well",
    "more": "Stir all the time",
}  # fmt: skip
DINNER = {"date": "Nov 3", "later": "Nov 9", "title": "Paella", "main": "Rice", "lunch": "Falafel"}


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def soups():
    """Return an episode that shows the soups, and what it shows."""
    episode = Episode(templates()["RecipesDeleteCopies"](COPIES, seed=2))
    # The second "Category" is the field that the list is by.
    start(episode, "recipes")
    click(episode, "Category")
    spinner = next(one.index for one in episode.phone.elements() if one.class_name == "Spinner")
    episode.step(Action("click", index=spinner))
    click(episode, "Soup")
    return episode


def rows(episode):
    shown = [one for one in episode.phone.elements() if one.class_name == "ListItem"]
    return sorted((one.text, one.details[0]) for one in shown)


def delete(episode, title, main):
    """Delete the first recipe with a name and an ingredient that the list of all shows."""
    row = next(one for one in episode.phone.elements() if (one.text, *one.details[:1]) == (title, main))
    episode.step(Action("click", index=row.index))
    click(episode, "Delete", "OK")


def test_copies_deleted_by_hand():
    episode = soups()
    assert episode.phone.elements()[1].text == "5"
    assert rows(episode) == [
        ("Goulash", "Beef"), ("Goulash", "Beef"), ("Ramen", "Beef"), ("Ramen", "Noodles"),
        ("Ramen", "Noodles"),
    ]  # fmt: skip
    delete(episode, "Ramen", "Noodles")
    delete(episode, "Goulash", "Beef")
    # Two to the list by category, two for the category, three for each recipe, the declaration.
    assert declare(episode) == 1.0
    assert episode.task.budget() - episode.left == 11


def test_both_copies_deleted_or_the_one_that_differs_is_no_success():
    for wrong in (("Goulash", "Beef"), ("Ramen", "Beef")):
        episode = soups()
        delete(episode, "Ramen", "Noodles")
        delete(episode, "Goulash", "Beef")
        delete(episode, *wrong)
        assert declare(episode) == 0.0
    for title, main in (("Ramen", "Noodles"), ("Goulash", "Beef")):
        episode = soups()
        delete(episode, title, main)
        assert declare(episode) == 0.0


def test_a_dinner_worked_out_by_hand():
    episode = Episode(templates()["RecipesDinner"](DINNER, seed=0))
    start(episode, "recipes")
    click(episode, "Paella", "Favourite", "Buy")
    bought = episode.phone.records("recipes.item")[-1]
    assert bought == {"item": "Rice", "recipe": "Paella", "bought": False}
    assert episode.phone.screen == "recipes/item.list"
    episode.step(Action("navigate_back"))
    click(episode, "Plan")
    dinner = next(one for one in episode.phone.elements() if one.details == ("Nov 3", "Dinner"))
    assert dinner.text == "Paella"
    episode.step(Action("click", index=dinner.index))
    click(episode, "Edit", "Date")
    episode.step(Action("input_text", text="Nov 9", clear_text=True))
    click(episode, "Save")
    assert declare(episode) == 1.0


def test_buying_twice_is_no_success():
    episode = Episode(get_task("RecipesBuy"))
    start(episode, "recipes")
    click(episode, episode.task.params["title"], "Buy")
    episode.step(Action("navigate_back"))
    click(episode, episode.task.params["title"], "Buy")
    assert declare(episode) == 0.0


def test_a_plan_from_a_recipe_has_its_name():
    params = {"title": "Paella", "meal": "Dinner", "date": "Nov 3"}
    episode = Episode(templates()["RecipesPlanMeal"](params, seed=0))
    start(episode, "recipes")
    click(episode, "Paella", "Plan", "Date")
    episode.step(Action("input_text", text="Nov 3", clear_text=True))
    click(episode, "Meal", "Dinner", "Save")
    planned = episode.phone.records("recipes.meal")[-1]
    assert planned == {"recipe": "Paella", "date": "Nov 3", "meal": "Dinner"}
    assert declare(episode) == 1.0


def test_the_quickest_is_the_only_one_with_the_least_time():
    for index in range(4):
        episode = Episode(get_task("RecipesQuickest", index=index))
        times = [*episode.phone.catalogue.records["recipes.recipe"].fields["time"].values]
        main = episode.task.params["main"]
        own = [one for one in episode.phone.records("recipes.recipe") if one["main"] == main]
        own.sort(key=lambda one: times.index(one["time"]))
        assert times.index(own[0]["time"]) < times.index(own[1]["time"])
        assert episode.task.answers == [own[0]["title"]]


def test_another_recipe_changed_beside_is_no_success():
    for key, value in (("favourite", True), ("servings", 12), ("directions", "")):
        episode = Episode(get_task("RecipesAdd"))
        for action in episode.oracle():
            if action.action_type == "status":
                rows = episode.phone.contents["recipes.recipe"]
                at = next(i for i, one in enumerate(rows) if one is not None and one[key] != value)
                rows[at] = {**rows[at], key: value}
            episode.step(action)
        assert episode.reward == 0.0
