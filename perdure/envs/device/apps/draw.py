"""A drawing pad: shapes on paper, and the drawings that are kept."""

from perdure.envs.device.declare import App, Of, One, Record
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Add, Set
from perdure.envs.device.screens import Detail, Form, List, New, Page
from perdure.envs.device.task import Slot, Task, template

NAMES = (
    "Sunset", "Robot", "My cat", "Floor plan", "Logo idea", "Birthday card", "Tree house", "Old ship",
    "Comic page", "Paper plane",
)  # fmt: skip
SHAPES = ("Circle", "Square", "Triangle", "Star", "Heart", "Arrow")
COLOURS = ("Black", "Red", "Green", "Blue", "Yellow", "Purple", "Orange")
PAPERS = ("White paper", "Grey paper", "Squared paper", "Brown paper")

LOOK = {"shape": Choice(*SHAPES), "colour": Choice(*COLOURS), "paper": Choice(*PAPERS)}

APP = App(
    "draw",
    "Draw",
    records=(
        Record("drawing", {"name": Text(*NAMES), **LOOK}, 8, (0, 3)),
        One("canvas", LOOK, view=True),
    ),
    screens=(
        Page("canvas", "Canvas", tuple(f"canvas.{name}" for name in LOOK), {
            "Save as": New("form", {name: Of("canvas", name) for name in LOOK}), "Drawings": "drawings",
        }),
        List("drawings", "drawing", "Drawings", ("name", "shape", "colour"), "drawing"),
        Detail("drawing", "drawing", "Drawing", deletes="drawings", up="drawings"),
        Form("form", "drawing", "Save drawing", "drawings"),
    ),
)  # fmt: skip


@template
class DrawCreate(Task):
    """Draw a shape on the canvas, and save it under a name."""

    template = "Draw this, and save it as {name}: the shape {shape}, the colour {colour}, on {paper}."
    app_names = ("draw",)
    complexity = 2.6
    difficulty = "medium"
    tags = ("complex_ui", "data_entry")
    schema = {
        "name": Slot("draw.drawing.name"), "shape": Slot("draw.drawing.shape", SHAPES[1:]),
        "colour": Slot("draw.drawing.colour", COLOURS[1:]), "paper": Slot("draw.drawing.paper", PAPERS[1:]),
    }  # fmt: skip
    goals = (
        Set("draw.canvas", shape="{shape}", colour="{colour}", paper="{paper}"),
        Add(
            "draw.drawing", "draw/canvas", name="{name}", shape="{shape}", colour="{colour}", paper="{paper}"
        ),
    )
