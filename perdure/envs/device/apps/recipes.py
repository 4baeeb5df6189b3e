"""Recipes, by category too, with a plan of meals and a shopping list."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record, add
from perdure.envs.device.fields import Bool, Choice, Date, Int, Text
from perdure.envs.device.goals import Add, Answer, Change, Read, Remove, RemoveCopies
from perdure.envs.device.screens import List, New, crud
from perdure.envs.device.task import Given, Slot, Task, template

TITLES = (
    "Lentil soup", "Apple pie", "Pea risotto", "Fish curry", "Onion tart", "Potato salad", "Pancakes",
    "Ramen", "Shepherd's pie", "Goulash", "Paella", "Ratatouille", "Cheese omelette", "Banana bread",
    "Falafel", "Dumplings", "Spinach lasagne", "Rice pudding", "Greek salad", "Pumpkin soup",
    "Bean chili", "Carrot cake", "Mushroom toast", "Noodle bowl",
)  # fmt: skip
MAINS = (
    "Lentils", "Apples", "Rice", "Salmon", "Onions", "Potatoes", "Flour", "Noodles", "Beef", "Tofu",
    "Chicken", "Aubergines", "Eggs", "Bananas", "Chickpeas", "Spinach", "Beans", "Mushrooms",
)  # fmt: skip
DIRECTIONS = (
    "Simmer on a low heat", "Bake until golden", "Stir all the time", "Fry on both sides",
    "Leave to cool overnight", "Mix and serve at once", "Steam with a lid on", "Grill and turn twice",
    "Boil and drain well", "Knead and let it rise", "Roast in a hot oven", "Chop finely and season",
)  # fmt: skip
CATEGORIES = ("Main dish", "Soup", "Salad", "Dessert", "Breakfast", "Snack", "Bread")
TIMES = ("10 minutes", "15 minutes", "20 minutes", "30 minutes", "45 minutes", "1 hour", "2 hours")
MEALS = ("Breakfast", "Lunch", "Dinner")
TODAY = "Nov 15"

APP = App(
    "recipes",
    "Recipes",
    records=(
        Record("recipe", {
            "title": Text(*TITLES), "category": Choice(*CATEGORIES),
            "main": Text(*MAINS, label="Main ingredient"), "time": Choice(*TIMES),
            "servings": Int(1, 12, default=2), "directions": Text(*DIRECTIONS), "favourite": Bool(),
        }),
        Record("meal", {"recipe": Text(*TITLES), "date": Date(TODAY), "meal": Choice(*MEALS)}),
        Record("item", {"item": Text(*MAINS), "recipe": Text(*TITLES), "bought": Bool()}),
        One("view", {"category": Choice(*CATEGORIES)}, view=True),
    ),
    screens=(
        *crud(
            "recipe", "Recipes", ("title", "main", "time"), search="title", changes=("favourite",),
            actions={
                "Buy": add("item", "item.list", item=Of("record", "main"), recipe=Of("record", "title")),
                "Plan": New("meal.form", {"recipe": Of("record", "title")}),
            },
            buttons={
                "Category": "category", "Favourites": "favourites", "Plan": "meal.list",
                "Shopping list": "item.list",
            },
        ),
        List(
            "category", "recipe", "Category", ("title", "main", "time"), "recipe.detail", "recipe.form",
            controls=("view.category",), where=("category", Of("view", "category")),
        ),
        List(
            "favourites", "recipe", "Favourites", ("title", "main"), "recipe.detail",
            where=("favourite", True),
        ),
        *crud("meal", "Plan", ("recipe", "date", "meal")),
        *crud("item", "Shopping list", ("item", "recipe", "bought"), changes=("bought",)),
    ),
)  # fmt: skip

TITLE, CATEGORY = Slot("recipes.recipe.title"), Slot("recipes.recipe.category")
MAIN, DIRECTION = Slot("recipes.recipe.main"), Slot("recipes.recipe.directions")
TIME, SERVINGS, DATE = Slot("recipes.recipe.time"), Slot("recipes.recipe.servings"), Slot("recipes.meal.date")


class Recipes(Task):
    """What tasks of this app have in common."""

    app_names: ClassVar[tuple[str, ...]] = ("recipes",)


@template
class RecipesAdd(Recipes):
    """Add a recipe."""

    template = "Add a recipe called {title} in the category {category}, with the main ingredient {main}."
    complexity = 2.0
    tags = ("data_entry",)
    schema = {
        "title": TITLE, "category": Slot("recipes.recipe.category", among=CATEGORIES[1:]), "main": MAIN,
    }  # fmt: skip
    goals = (Add("recipes.recipe", title="{title}", category="{category}", main="{main}"),)


@template
class RecipesAddThree(Recipes):
    """Add three recipes."""

    template = (
        "Add three recipes, each for {servings} people: {title} of {main}, which takes {time}; {second} "
        "of {beside}, which takes {longer}; and {third} of {last}, which takes {longest}."
    )
    complexity = 6.4
    difficulty = "hard"
    tags = ("data_entry", "repetition", "complex_ui")
    # No slot is what a new recipe has already.
    schema = {
        "servings": Slot("recipes.recipe.servings", among=tuple(map(str, range(3, 13)))),
        "title": TITLE, "main": MAIN, "time": Slot("recipes.recipe.time", among=TIMES[1:]),
        "second": TITLE, "beside": MAIN, "longer": Slot("recipes.recipe.time", among=TIMES[1:]),
        "third": TITLE, "last": MAIN, "longest": Slot("recipes.recipe.time", among=TIMES[1:]),
    }  # fmt: skip
    goals = tuple(
        Add("recipes.recipe", title=title, main=main, time=time, servings="{servings}")
        for title, main, time in (
            ("{title}", "{main}", "{time}"), ("{second}", "{beside}", "{longer}"),
            ("{third}", "{last}", "{longest}"),
        )
    )  # fmt: skip


@template
class RecipesFromNote(Recipes):
    """Add a recipe that a note tells of."""

    template = (
        "Add a recipe called {title}. The first line of the note {note} says what its main ingredient is, "
        "the second line gives the directions."
    )
    app_names = ("recipes", "notes")
    complexity = 2.6
    difficulty = "medium"
    tags = ("multi_app", "data_entry", "transcription")
    schema = {"title": TITLE, "note": Slot("notes.note.title"), "main": MAIN, "directions": DIRECTION}
    setup = (Given("notes.note", title="{note}", first="{main}", second="{directions}"),)
    goals = (
        Read("notes.note", title="{note}"),
        Add("recipes.recipe", title="{title}", main="{main}", directions="{directions}"),
    )


@template
class RecipesChange(Recipes):
    """Change how many a recipe serves and how long it takes."""

    template = "The recipe {title} shall serve {servings} people and take {time}: change it."
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "complex_ui")
    schema = {"title": TITLE, "servings": SERVINGS, "time": TIME, "fewer": SERVINGS, "before": TIME}
    setup = (Given("recipes.recipe", title="{title}", servings="{fewer}", time="{before}"),)
    goals = (Change("recipes.recipe", {"title": "{title}"}, servings="{servings}", time="{time}"),)


@template
class RecipesFavourite(Recipes):
    """Make a recipe a favourite, where another one of the same name is not meant."""

    template = "Make the recipe {title} with {main} a favourite."
    complexity = 1.0
    tags = ("data_edit", "search")
    schema = {"title": TITLE, "main": MAIN, "other": MAIN}
    setup = (
        Given("recipes.recipe", title="{title}", main="{main}", favourite=False),
        Given("recipes.recipe", title="{title}", main="{other}", favourite=False),
    )
    goals = (Change("recipes.recipe", {"title": "{title}", "main": "{main}"}, favourite=True),)


@template
class RecipesDelete(Recipes):
    """Delete a recipe among many."""

    template = "Delete the recipe {title}."
    complexity = 1.4
    tags = ("data_edit", "search")
    schema = {"title": TITLE}
    setup = (Given("recipes.recipe", title="{title}"),)
    goals = (Remove("recipes.recipe", title="{title}"),)
    noise = {"recipes.recipe": (7, 11)}


@template
class RecipesDeleteWith(Recipes):
    """Delete all recipes with some ingredient."""

    template = "Delete all recipes whose main ingredient is {main}."
    complexity = 2.4
    difficulty = "medium"
    tags = ("data_edit", "repetition", "screen_reading")
    schema = {"main": MAIN}
    setup = (Given("recipes.recipe", main="{main}"),) * 3
    goals = (Remove("recipes.recipe", main="{main}"),)


@template
class RecipesDeleteCopies(Recipes):
    """Delete recipes that are there twice."""

    template = (
        "In the category {category} some recipes are there twice, the same in everything. Delete the "
        "copies, so that one of each is left."
    )
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_edit", "repetition", "screen_reading", "verification")
    schema = {
        "category": CATEGORY, "title": TITLE, "second": TITLE, "main": MAIN, "beside": MAIN, "time": TIME,
        "longer": TIME, "directions": DIRECTION, "more": DIRECTION,
    }  # fmt: skip
    # The last one has a name twice too, and is not the same.
    setup = (
        *(
            Given("recipes.recipe", title="{title}", category="{category}", main="{main}", time="{time}",
                  servings=4, directions="{directions}", favourite=False),
            Given("recipes.recipe", title="{second}", category="{category}", main="{beside}", time="{longer}",
                  servings=2, directions="{more}", favourite=False),
        ) * 2,
        Given("recipes.recipe", title="{title}", category="{category}", main="{beside}", time="{longer}"),
    )  # fmt: skip
    goals = (
        RemoveCopies("recipes.recipe", title="{title}", main="{main}"),
        RemoveCopies("recipes.recipe", title="{second}", main="{beside}"),
    )


@template
class RecipesHowLong(Recipes):
    """Find out how long a recipe takes."""

    template = "How long does the recipe {title} take?"
    complexity = 1.0
    tags = ("information_retrieval", "search")
    schema = {"title": TITLE, "time": TIME}
    setup = (Given("recipes.recipe", title="{title}", time="{time}"),)
    goals = (Answer("recipes.recipe", "time", title="{title}"),)


@template
class RecipesQuickest(Recipes):
    """Find out which recipe with some ingredient takes the least time."""

    template = "Which recipe with the main ingredient {main} is done the quickest?"
    complexity = 1.2
    difficulty = "medium"
    tags = ("information_retrieval", "screen_reading")
    schema = {
        "main": MAIN, "title": TITLE, "time": Slot("recipes.recipe.time", among=TIMES[:3]),
        "longer": Slot("recipes.recipe.time", among=TIMES[3:]),
        "longest": Slot("recipes.recipe.time", among=TIMES[3:]),
    }  # fmt: skip
    setup = (
        Given("recipes.recipe", main="{main}", time="{longer}"),
        Given("recipes.recipe", title="{title}", main="{main}", time="{time}"),
        Given("recipes.recipe", main="{main}", time="{longest}"),
    )
    goals = (Answer("recipes.recipe", "title", main="{main}", time="{time}"),)


@template
class RecipesBuy(Recipes):
    """Put what a recipe needs on the shopping list."""

    template = "Put the main ingredient of the recipe {title} on the shopping list, for this recipe."
    complexity = 1.0
    tags = ("data_entry",)
    schema = {"title": TITLE, "main": MAIN}
    setup = (Given("recipes.recipe", title="{title}", main="{main}"),)
    goals = (Add("recipes.item", item="{main}", recipe="{title}"),)


@template
class RecipesPlanMeal(Recipes):
    """Plan a meal."""

    template = "Plan to have {title} for {meal} on {date}, in the plan of Recipes."
    complexity = 2.2
    difficulty = "medium"
    tags = ("data_entry", "complex_ui")
    schema = {"title": TITLE, "meal": Slot("recipes.meal.meal", among=MEALS[1:]), "date": DATE}
    setup = (Given("recipes.recipe", title="{title}"),)
    goals = (Add("recipes.meal", recipe="{title}", meal="{meal}", date="{date}"),)


@template
class RecipesDinner(Recipes):
    """Prepare what is planned for some day."""

    template = (
        "See what the plan of Recipes has for dinner on {date}. Put the main ingredient of this recipe on "
        "the shopping list, for this recipe, and make the recipe a favourite; then put the dinner off to "
        "{later} in the plan."
    )
    complexity = 3.4
    difficulty = "hard"
    tags = ("screen_reading", "data_entry", "data_edit", "complex_ui")
    schema = {"date": DATE, "later": DATE, "title": TITLE, "main": MAIN, "lunch": TITLE}
    setup = (
        Given("recipes.recipe", title="{title}", main="{main}", favourite=False),
        Given("recipes.recipe", title="{lunch}", favourite=False),
        Given("recipes.meal", recipe="{title}", date="{date}", meal="Dinner"),
        Given("recipes.meal", recipe="{lunch}", date="{date}", meal="Lunch"),
    )
    goals = (
        Read("recipes.meal", date="{date}", meal="Dinner"),
        Add("recipes.item", item="{main}", recipe="{title}"),
        Change("recipes.recipe", {"title": "{title}"}, favourite=True),
        Change("recipes.meal", {"date": "{date}", "meal": "Dinner"}, date="{later}"),
    )
