"""Notes and to-dos in notebooks, and the ingredients that recipes among them list."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record, set_one
from perdure.envs.device.fields import Bool, Choice, Text
from perdure.envs.device.goals import Answer, Number, Set
from perdure.envs.device.screens import Detail, List, crud
from perdure.envs.device.task import Given, Slot, Task, template

RECIPES = (
    "Pea soup", "Apple cake", "Fish pie", "Rye bread", "Plum jam", "Lentil salad", "Onion tart",
    "Rice pudding",
)  # fmt: skip
TITLES = (
    "Moving list", "Garden plan", "Ideas for gifts", "Board meeting", "Reading list", "Lisbon trip",
    "Tax papers", "Bike repair", "Wedding speech", "Server setup", "Guitar chords", "Museum tips",
    "Spring cleaning", "Interview notes", "Camping gear",
)  # fmt: skip
BODIES = (
    "Ask Nora first", "See the blue folder", "Before the holidays", "Only on weekdays", "Costs about forty",
    "Twice a month", "Not urgent", "With photos", "Check the address", "Paid in May",
)  # fmt: skip
NOTEBOOKS = ("Personal", "Work", "Recipes", "Travel", "Home", "School", "Archive")
INGREDIENTS = (
    "Flour", "Sugar", "Butter", "Salt", "Milk", "Eggs", "Cream", "Lemon", "Pepper", "Garlic", "Parsley",
    "Vinegar",
)  # fmt: skip
AMOUNTS = (
    "50 g", "100 g", "150 g", "250 g", "400 g", "1 cup", "2 cups", "3 spoons", "Half a litre", "A pinch",
    "4 pieces", "6 pieces",
)  # fmt: skip

APP = App(
    "joplin",
    "Joplin",
    records=(
        Record("note", {
            "title": Text(*TITLES, *RECIPES), "notebook": Choice(*NOTEBOOKS), "kind": Choice("Note", "To-do"),
            "done": Bool(), "body": Text(*BODIES),
        }),
        Record(
            "ingredient", {"name": Text(*INGREDIENTS), "recipe": Text(*RECIPES), "amount": Text(*AMOUNTS)}
        ),
        One("view", {"notebook": Choice(*NOTEBOOKS), "recipe": Text(*RECIPES)}, view=True),
    ),
    screens=(
        *crud(
            "note", "Notes", ("title", "kind", "notebook"), search="title", changes=("done",),
            actions={"Ingredients": set_one("view", "ingredients", recipe=Of("record", "title"))},
            buttons={"Notebook": "notebook", "Ingredients": set_one("view", "ingredients", recipe="")},
        ),
        List(
            "notebook", "note", "One notebook", ("title", "kind", "done"), "note.detail",
            controls=("view.notebook",), where=("notebook", Of("view", "notebook")),
        ),
        List(
            "ingredients", "ingredient", "Ingredients", ("name", "recipe"), "ingredient",
            controls=("view.recipe",), where=("recipe", Of("view", "recipe")),
        ),
        Detail("ingredient", "ingredient", "Ingredient", up="ingredients"),
    ),
)  # fmt: skip

TITLE, RECIPE = Slot("joplin.note.title"), Slot("joplin.note.title", RECIPES)
NOTEBOOK = Slot("joplin.note.notebook")


class Joplin(Task):
    """What tasks of this app have in common."""

    app_names = ("joplin",)
    tags: ClassVar[tuple[str, ...]] = ("information_retrieval",)


@template
class JoplinKind(Joplin):
    """Find out whether a note is a to-do."""

    template = "Is {title} in Joplin a note or a to-do? Answer Note or To-do."
    complexity = 1.0
    schema = {"title": TITLE, "kind": Slot("joplin.note.kind")}
    setup = (Given("joplin.note", title="{title}", kind="{kind}"),)
    goals = (Answer("joplin.note", "kind", title="{title}"),)


@template
class JoplinHowMany(Joplin):
    """Find out how many notes a notebook has."""

    template = "How many notes and to-dos does the notebook {notebook} in Joplin have?"
    complexity = 1.2
    # No slot of the field itself: notes at random may be in the notebook too, so the number varies.
    schema = {"notebook": Slot(among=NOTEBOOKS)}
    setup = (Given("joplin.note", notebook="{notebook}"),)
    noise = {"joplin.note": (5, 11)}
    goals = (Number("joplin.note", notebook="{notebook}"),)


@template
class JoplinAmount(Joplin):
    """Find out how much of an ingredient a recipe takes, where another one takes it too."""

    template = "How much {ingredient} does the recipe {recipe} in Joplin take?"
    complexity = 1.6
    difficulty = "medium"
    tags = ("information_retrieval", "search")
    schema = {
        "ingredient": Slot("joplin.ingredient.name"), "recipe": RECIPE, "other": RECIPE,
        "amount": Slot("joplin.ingredient.amount"),
    }  # fmt: skip
    setup = (
        Given("joplin.note", title="{recipe}", notebook="Recipes", kind="Note"),
        Given("joplin.ingredient", name="{ingredient}", recipe="{recipe}", amount="{amount}"),
        Given("joplin.ingredient", name="{ingredient}", recipe="{other}"),
    )
    goals = (
        Set("joplin.view", recipe="{recipe}"),
        Answer("joplin.ingredient", "amount", name="{ingredient}", recipe="{recipe}"),
    )


@template
class JoplinLeftToDo(Joplin):
    """Find out which to-dos of a notebook are left, among notes, done ones, and other notebooks."""

    template = "Which to-dos in the notebook {notebook} of Joplin are not done? Answer with all their titles."
    complexity = 2.4
    difficulty = "hard"
    tags = ("information_retrieval", "screen_reading", "repetition")
    schema = {"notebook": NOTEBOOK, "title": TITLE, "second": TITLE, "other": NOTEBOOK}
    setup = (
        Given("joplin.note", title="{title}", notebook="{notebook}", kind="To-do", done=False),
        Given("joplin.note", title="{second}", notebook="{notebook}", kind="To-do", done=False),
        Given("joplin.note", notebook="{notebook}", kind="To-do", done=True),
        Given("joplin.note", notebook="{notebook}", kind="Note", done=False),
        Given("joplin.note", notebook="{other}", kind="To-do", done=False),
    )
    goals = (
        Set("joplin.view", notebook="{notebook}"),
        Answer("joplin.note", "title", notebook="{notebook}", kind="To-do", done=False),
    )
