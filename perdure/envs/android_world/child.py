"""What runs in the Python that has ``android_world``: it is given requests, and answers them.

A request is a line of JSON on standard input, ``{"id": 3, "do": "act", "with": {"action": {...}}}``; the
answer a line on what was standard output, ``{"id": 3, "found": ...}`` or ``{"id": 3, "error": "..."}``.
Whatever packages print goes to standard error. It ends with its input. It needs the standard library only,
and imports nothing of Perdure: it is started as a file.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

FLAGS = ("clickable", "long_clickable", "editable", "checkable", "checked", "scrollable", "focused")


class Server:
    """Carries out requests, one after the other."""

    def __init__(self) -> None:
        self.env: Any = None
        self.kinds: dict[str, Any] = {}
        self.tasks: list[Any] = []
        self.begun: int | None = None

    def load(self) -> list[str]:
        """Import the package; return the names of its tasks."""
        registry = importlib.import_module("android_world.registry")
        every = registry.TaskRegistry()
        self.kinds = dict(every.get_registry(every.ANDROID_WORLD_FAMILY))
        return sorted(self.kinds)

    def connect(self, **options: Any) -> None:
        """Connect to the emulator."""
        launcher = importlib.import_module("android_world.env.env_launcher")
        self.env = launcher.load_and_setup_env(**options)

    def make(self, name: str, seed: int, index: int) -> dict[str, Any]:
        """Make an instance of a task, as ``create_suite`` of the package does; return what it is."""
        kind = self.kinds[name]
        own = int(hashlib.sha256(f"{seed}_{name}_{index}".encode()).hexdigest(), 16) % 2**32
        kind.set_device_time(self.env)
        random.seed(own)
        params = kind.generate_random_params()
        params["seed"] = own
        task = kind(params)
        self.tasks.append(task)
        return {
            "number": len(self.tasks) - 1, "goal": str(task.goal), "complexity": float(task.complexity),
            "app_names": [str(app) for app in task.app_names],
            "params": {str(key): str(value) for key, value in params.items() if key != "seed"},
        }  # fmt: skip

    def initialize(self, number: int) -> None:
        """Prepare the emulator for a task; the one before is torn down."""
        self.end_task()
        task = self.tasks[number]
        self.begun = number
        task.initialize_task(self.env)
        self.env.reset(go_home=bool(getattr(task, "start_on_home_screen", True)))

    def look(self) -> dict[str, Any]:
        """Return what the screen shows."""
        state = self.env.get_state(wait_to_stabilize=True)
        found = [_element(one) for one in state.ui_elements]
        screen = str(getattr(self.env, "foreground_activity_name", ""))
        return {"screen": screen, "elements": [one for one in found if one]}

    def act(self, action: dict[str, Any]) -> None:
        """Carry out an action."""
        actions = importlib.import_module("android_world.env.json_action")
        self.env.execute_action(actions.JSONAction(**action))

    def is_successful(self, number: int) -> float:
        """Return how far a task is done."""
        return float(self.tasks[number].is_successful(self.env))

    def tear_down(self, number: int) -> None:
        """Clean up after a task, if it is the one that has begun."""
        if self.begun == number:
            self.end_task()

    def end_task(self) -> None:
        """Clean up after the task that has begun, if any."""
        number, self.begun = self.begun, None
        if number is not None:
            self.tasks[number].tear_down(self.env)

    def close(self) -> None:
        """Clean up, and leave the emulator."""
        if self.env is not None:
            self.end_task()
            self.env.close()


def _element(one: Any) -> dict[str, Any] | None:
    """Return what is told of an element; nothing where it is not seen, or nowhere."""
    box = one.bbox_pixels
    if box is None or getattr(one, "is_visible", True) is False:
        return None
    about = [one.content_description, getattr(one, "hint_text", None)]
    return {
        "text": str(one.text or ""), "details": [str(text) for text in about if text],
        "class_name": str(one.class_name or "").rpartition(".")[2],
        "box": [int(box.x_min), int(box.y_min), int(box.x_max), int(box.y_max)],
        **{flag: bool(getattr(one, f"is_{flag}", False)) for flag in FLAGS},
    }  # fmt: skip


def answered(server: Server, line: str) -> dict[str, Any]:
    """Carry out the request of a line; return the answer."""
    number = None
    try:
        request = json.loads(line)
        number = request["id"]
        do: Callable[..., Any] = getattr(server, request["do"])
        return {"id": number, "found": do(**request["with"])}
    except (Exception, SystemExit) as error:  # whatever the packages stumble over is the asker's to tell
        said = (str(error).strip() or "no message").splitlines()[0]
        return {"id": number, "error": f"{type(error).__name__}: {said}"}


def main() -> None:
    """Answer requests until there are no more."""
    # Neighbours of this file are no packages of the user's.
    sys.path.pop(0)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = Server()
    for line in sys.stdin:
        answers.write(json.dumps(answered(server, line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
