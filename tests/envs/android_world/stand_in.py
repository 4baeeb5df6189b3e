"""A package ``android_world`` of a few files that has the interface of the real one, and a tiny phone."""

REGISTRY = """
import os, random, sys, time

print("a package that talks on standard output")


class Task:
    app_names, complexity, template, start_on_home_screen = ("contacts",), 1.2, "", True
    torn_down = []

    def __init__(self, params):
        self.params, self.is_begun = params, False

    @property
    def name(self):
        return type(self).__name__

    @property
    def goal(self):
        return self.template.format(**self.params)

    @classmethod
    def set_device_time(cls, env):
        assert env.is_open

    @classmethod
    def generate_random_params(cls):
        return {"name": random.choice(["Ann", "Bob", "Cid", "Dora", "Eve"])}

    def initialize_task(self, env):
        if self.is_begun:
            raise RuntimeError("initialize_task() is already called.")
        self.is_begun, env.saved, env.typed = True, [], ""
        print("something in between")

    def is_successful(self, env):
        if not self.is_begun:
            raise RuntimeError("initialize_task() must be called before.")
        return float(self.params["name"] in env.saved)

    def tear_down(self, env):
        self.is_begun = False
        env.log("tear_down " + self.name)


class AddContact(Task):
    template = "Add the contact {name}."


class TellNames(Task):
    template = "Who is {name}'s friend?"

    def is_successful(self, env):
        return float(env.interaction_cache == "Ann, Bob")


class FailsAtFirst(Task):
    template = "Fail."

    def initialize_task(self, env):
        raise ValueError("no such database\\nand much more")


class Dies(Task):
    template = "Die."

    def initialize_task(self, env):
        sys.stderr.write("some log\\nFatal: out of memory\\n")
        sys.stderr.flush()
        os._exit(3)


class Sleeps(Task):
    template = "Sleep."

    def initialize_task(self, env):
        time.sleep(600)


class Garbles(Task):
    template = "Garble."

    def initialize_task(self, env):
        # The second file that is open for writing: what the answers are written to.
        for number in range(3, 10):
            try:
                os.write(number, b"what is this\\n")
            except OSError:
                continue


class TaskRegistry:
    ANDROID_WORLD_FAMILY = "android_world"

    def get_registry(self, family):
        assert family == "android_world"
        kinds = (AddContact, TellNames, FailsAtFirst, Dies, Sleeps, Garbles)
        return {kind.__name__: kind for kind in kinds}
"""

LAUNCHER = """
import os
from dataclasses import dataclass


@dataclass
class Box:
    x_min: int
    x_max: int
    y_min: int
    y_max: int


@dataclass
class UIElement:
    text: str = None
    content_description: str = None
    class_name: str = None
    bbox_pixels: Box = None
    hint_text: str = None
    is_checked: bool = None
    is_checkable: bool = None
    is_clickable: bool = None
    is_editable: bool = None
    is_focused: bool = None
    is_long_clickable: bool = None
    is_scrollable: bool = None
    is_visible: bool = True


@dataclass
class State:
    ui_elements: list


def line(number, text, kind="TextView", **more):
    box = Box(0, 1000, 100 * number, 100 * number + 100)
    return UIElement(text, class_name="android.widget." + kind, bbox_pixels=box, **more)


class Env:
    def __init__(self):
        self.is_open, self.place, self.typed, self.saved = True, "home", "", []
        self.is_focused, self.scroll, self.interaction_cache = False, 0, ""

    def log(self, text):
        path = os.environ.get("STAND_IN_LOG")
        if path:
            with open(path, "a") as file:
                file.write(text + "\\n")

    @property
    def foreground_activity_name(self):
        return "com.example/" + self.place

    def get_state(self, wait_to_stabilize=False):
        assert wait_to_stabilize
        hidden = [UIElement("nowhere"), line(20, "not seen", is_visible=False)]
        if self.place == "home":
            return State([*hidden, line(0, "Contacts", is_clickable=True)])
        if self.place == "list":
            shown = ["Ann", "Bob", "Cid", "Dora", "Eve"][2 * self.scroll :][:2]
            names = [line(i + 1, name) for i, name in enumerate(shown)]
            scrolling = line(5, None, is_scrollable=True)
            return State([line(0, "Add", "Button", is_clickable=True), *names, scrolling])
        field = line(1, self.typed or None, "EditText", hint_text="Name", is_editable=True,
                     is_clickable=True, is_focused=self.is_focused)
        return State([*hidden, line(0, "Save", "Button", is_clickable=True), field])

    def execute_action(self, action):
        kind = action.action_type
        self.log(repr(action))
        if kind == "answer":
            self.interaction_cache = action.text
        elif kind == "open_app":
            if action.app_name != "contacts":
                raise ValueError("No app " + action.app_name)
            self.place = "list"
        elif kind == "navigate_home":
            self.place = "home"
        elif kind in ("scroll", "swipe"):
            change = {"down": 1, "up": -1}[action.direction] * (1 if kind == "scroll" else -1)
            self.scroll = min(max(self.scroll + change, 0), 2)
        elif kind == "input_text":
            if action.x is not None:
                self.press(action.x, action.y)
            if self.is_focused:
                self.typed = ("" if action.clear_text else self.typed) + action.text
        elif kind == "click":
            # Indices would be those of all elements, seen or not: they are not used.
            assert action.index is None
            self.press(action.x, action.y)

    def press(self, x, y):
        row = y // 100
        if self.place == "home" and row == 0:
            self.place = "list"
        elif self.place == "list" and row == 0:
            self.place, self.is_focused = "form", False
        elif self.place == "form" and row == 1:
            self.is_focused = True
        elif self.place == "form" and row == 0:
            self.saved.append(self.typed)
            self.place = "list"

    def reset(self, go_home=False):
        self.place, self.interaction_cache = ("home" if go_home else self.place), ""

    def close(self):
        self.log("close")


def load_and_setup_env(console_port=5554, emulator_setup=False, freeze_datetime=True, adb_path="adb",
                       grpc_port=8554):
    if console_port == 5556:
        raise RuntimeError("Failed to connect to emulator-5556")
    env = Env()
    env.log(f"port {console_port} {grpc_port} adb {adb_path} setup {emulator_setup}")
    return env
"""

ACTIONS = """
from dataclasses import dataclass


@dataclass
class JSONAction:
    action_type: str = None
    index: int = None
    x: int = None
    y: int = None
    text: str = None
    direction: str = None
    goal_status: str = None
    app_name: str = None
    keycode: str = None
    clear_text: bool = None

    def __post_init__(self):
        if self.index is not None and (self.x is not None or self.y is not None):
            raise ValueError("Either an index or a <x, y> should be provided.")
"""


def written(folder):
    """Write the package into a folder; return the folder, for PYTHONPATH."""
    files = {
        "__init__.py": "", "registry.py": REGISTRY, "env/__init__.py": "", "env/env_launcher.py": LAUNCHER,
        "env/json_action.py": ACTIONS,
    }  # fmt: skip
    for name, text in files.items():
        path = folder / "android_world" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
