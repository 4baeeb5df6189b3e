"""AndroidWorld with the methods, elements and actions of the simulated phone."""

from __future__ import annotations

from dataclasses import asdict
from types import TracebackType
from typing import Any

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.android_world.process import Process
from perdure.envs.device.actions import POINTED, Action
from perdure.envs.device.attempt import Attempt
from perdure.envs.device.phone import TURNED, Element
from perdure.envs.device.render import render

Seen = list[Element]


class AndroidWorld:
    """The real AndroidWorld, in a process of a Python that has it, and an episode in it.

    Close it, or use it as a context: ``with AndroidWorld("/venv/bin/python") as world``. Its process ends
    with it, and with this one.

    Parameters
    ----------
    python:
        Path of the Python in which ``android_world`` is installed.
    task:
        The task that :meth:`reset` begins where it is told no other.
    console_port:
        Of the emulator, which runs.
    grpc_port:
        Of the emulator.
    adb_path:
        Of the program ``adb``; by default where the package looks for it.
    emulator_setup:
        Whether apps are installed on the emulator first: once, which takes long.
    timeout:
        Seconds that anything asked for may take.

    Raises
    ------
    PerdureError
        Where the Python cannot be started, has no ``android_world``, or finds no emulator; where the process
        ends, answers too late or nothing that can be read; and where the package reports an error.

    Examples
    --------
    >>> with AndroidWorld("/venv/bin/python") as world:  # doctest: +SKIP
    ...     episode = world.episode("ContactsAddContact")
    ...     episode.step(Action("open_app", app_name="contacts"))
    0.0
    """

    def __init__(
        self, python: str, task: str | None = None, *, console_port: int = 5554, grpc_port: int = 8554,
        adb_path: str = "", emulator_setup: bool = False, timeout: float = 300.0,
    ) -> None:  # fmt: skip
        options = {"console_port": check_whole("console_port", console_port, most=65535)}
        options |= {"grpc_port": check_whole("grpc_port", grpc_port, most=65535)}
        check_number("timeout", timeout, ends="()")
        self._process = Process(str(python), float(timeout))
        self._task, self._seed, self._index = task, 0, -1
        self._episode: AndroidEpisode | None = None
        try:
            self._names: list[str] = self._loaded()
            self._check(task)
            adb = {"adb_path": str(adb_path)} if adb_path else {}
            self._connect({**options, **adb, "emulator_setup": bool(emulator_setup)})
        except BaseException:
            self.close()
            raise

    def _loaded(self) -> list[str]:
        try:
            return [str(name) for name in self._process.ask("load")]
        except PerdureError as error:
            if "ModuleNotFoundError" not in str(error):
                raise
            raise PerdureError(
                f"expected a Python that has the package android_world (github.com/google-research/"
                f"android_world); {shown(self._process.python)} has not: {error}"
            ) from error

    def _connect(self, options: dict[str, Any]) -> None:
        try:
            self._process.ask("connect", **options)
        except PerdureError as error:
            if not self._process.alive:
                raise
            raise PerdureError(
                f"expected an emulator that runs, on console port {options['console_port']}: {error}"
            ) from error

    def _check(self, name: str | None) -> None:
        if name is not None and name not in self._names:
            raise unknown("task", str(name), self._names)

    # ---- tasks ----------------------------------------------------------------------------------------

    def tasks(self) -> list[str]:
        """Return the names of all tasks."""
        return list(self._names)

    def task(self, name: str, seed: int = 0, index: int = 0) -> AndroidTask:
        """Return an instance of a task: the one that the package's own suite of this seed has there."""
        self._check(name)
        check_whole("seed", seed, least=0)
        check_whole("index", index, least=0)
        return AndroidTask(self._process, name, self._process.ask("make", name=name, seed=seed, index=index))

    def episode(self, name: str, seed: int = 0, index: int = 0) -> AndroidEpisode:
        """Begin an instance of a task; the one before is torn down."""
        self._episode = AndroidEpisode(self.task(name, seed, index), AndroidPhone(self._process))
        return self._episode

    # ---- as Gymnasium has it --------------------------------------------------------------------------

    @property
    def goal(self) -> str:
        """What is to be done, in words."""
        return self._begun().task.goal

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode; return the elements of the screen, and the goal.

        Parameters
        ----------
        seed:
            Of the suite, of which the first instance is begun; without one, the next instance.
        options:
            ``{"task": name}``, where it is not the one that the world was made with.
        """
        if set(options or {}) - {"task"}:
            raise PerdureError(f"options of a reset can be task; found {shown(options)}")
        name = (options or {}).get("task", self._task)
        if name is None:
            raise PerdureError("expected a task: make the world with one, or reset(options={'task': name})")
        self._seed, self._index = (self._seed, self._index + 1) if seed is None else (seed, 0)
        episode = self.episode(name, self._seed, self._index)
        return episode.phone.elements(), {"goal": episode.task.goal}

    def step(self, action: Action) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Carry out an action; return the elements, the reward, whether it is over, ``False``, nothing."""
        episode = self._begun()
        # Who goes on after the end sees what nobody looks at.
        reward = 0.0 if episode.over else episode.step(action)
        return episode.phone.elements(), reward, episode.over, False, {}

    def render(self) -> str:
        """Return the screen as text."""
        return render(self._begun().phone)

    def _begun(self) -> AndroidEpisode:
        if self._episode is None:
            raise PerdureError("expected a reset first")
        return self._episode

    # ---- its end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Tear down what has begun, and end the process."""
        if self._process.alive:
            try:
                self._process.ask("close")
            finally:
                self._process.end()
        self._process.end(0.0)

    def __enter__(self) -> AndroidWorld:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except PerdureError:
            # What went wrong first is what is told.
            if error is None:
                raise


class AndroidPhone:
    """The emulator's screen, and what actions do there; made by :meth:`AndroidWorld.episode`.

    Elements without a box, or that are not seen, are left out. An action that points at one is carried out
    at the middle of its box as it was when it was last looked at, whatever has come up since; pointing at
    what is not there does nothing. Where there is more to scroll to is not known before it is tried.

    Attributes
    ----------
    status, answers:
        What the agent has declared, and answered so far: AndroidWorld gets all answers, with commas between.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.status: str | None = None
        self.answers: list[str] = []
        self._screen, self._elements = "", Seen()
        self._is_old = True
        # Where it was last scrolled to, and where there was no more.
        self._scrolled, self._ends = "", set[str]()

    def elements(self) -> Seen:
        """Return what the screen shows, once it has come to rest."""
        self._look()
        return list(self._elements)

    @property
    def screen(self) -> str:
        """The activity that is in front."""
        self._look()
        return self._screen

    def can_scroll(self, direction: str) -> bool:
        """Tell whether anything scrolls, and has not been scrolled so without any change."""
        return any(element.scrollable for element in self.elements()) and direction not in self._ends

    def do(self, action: Action) -> None:
        """Carry out an action; nothing happens where it points at nothing, nor after the status."""
        if not isinstance(action, Action):
            raise PerdureError(f"expected an Action; found {shown(action)}")
        if self.status is not None:
            return
        if action.action_type == "answer":
            self.answers += [part.strip() for part in str(action.text).split(",") if part.strip()]
        plain = self._plain(action)
        if plain is not None:
            self._look()
            self._process.ask("act", action=plain)
            self._is_old, self._scrolled = True, _direction(action)
        self.status = action.goal_status if action.action_type == "status" else None

    def _plain(self, action: Action) -> dict[str, Any] | None:
        """Return an action as AndroidWorld has it, or nothing where it points at nothing."""
        told = asdict(action).items()
        plain = {name: value for name, value in told if value is not None and value is not False}
        index = plain.pop("index", None)
        if action.action_type == "answer":
            plain["text"] = ", ".join(self.answers)
        if index is None or action.action_type not in (*POINTED, "input_text"):
            return plain
        elements = self.elements()
        if not 0 <= index < len(elements):
            return None
        left, top, right, bottom = elements[index].box
        return {**plain, "x": (left + right) // 2, "y": (top + bottom) // 2}

    def _look(self) -> None:
        if not self._is_old:
            return
        found = self._process.ask("look")
        try:
            screen = str(found["screen"])
            elements = [_element(i, told) for i, told in enumerate(found["elements"])]
        except (TypeError, KeyError, ValueError) as error:
            raise PerdureError(f"expected a screen from android_world; found {shown(found)}") from error
        is_same = (screen, elements) == (self._screen, self._elements)
        self._ends = self._ends | {self._scrolled} if is_same else set()
        self._screen, self._elements, self._is_old = screen, elements, False


class AndroidTask:
    """An instance of a task of AndroidWorld; made by :meth:`AndroidWorld.task`.

    Attributes
    ----------
    goal:
        In words.
    params:
        Its parameters as texts, where the goal is made of any.
    app_names, complexity:
        As the package has them.
    """

    def __init__(self, process: Process, name: str, told: dict[str, Any]) -> None:
        self._process, self._name, self._number = process, name, told["number"]
        self.goal, self.complexity = str(told["goal"]), float(told["complexity"])
        self.app_names, self.params = tuple(told["app_names"]), dict(told["params"])

    def name(self) -> str:
        """Return its name."""
        return self._name

    def budget(self) -> int:
        """Return how many steps an agent may take."""
        return int(10 * self.complexity)

    def initialize_task(self, phone: AndroidPhone) -> None:
        """Prepare the emulator."""
        self._process.ask("initialize", number=self._number)

    def is_successful(self, phone: AndroidPhone) -> float:
        """Return how far the task is done where the agent has declared it complete, else 0."""
        if phone.status != "complete":
            return 0.0
        return float(self._process.ask("is_successful", number=self._number))

    def tear_down(self, phone: AndroidPhone) -> None:
        """Clean up after the task, if it has begun."""
        self._process.ask("tear_down", number=self._number)


class AndroidEpisode(Attempt[AndroidTask, AndroidPhone, Action]):
    """A task that is being carried out; made by :meth:`AndroidWorld.episode`. Its actions have no numbers."""


def _direction(action: Action) -> str:
    """Return where an action scrolls to, or nothing."""
    if action.action_type not in ("scroll", "swipe"):
        return ""
    return str(action.direction) if action.action_type == "scroll" else TURNED[str(action.direction)]


def _element(index: int, told: dict[str, Any]) -> Element:
    left, top, right, bottom = map(int, told["box"])
    rest = {name: value for name, value in told.items() if name not in ("box", "details")}
    return Element(index=index, box=(left, top, right, bottom), details=tuple(told["details"]), **rest)
