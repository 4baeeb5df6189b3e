"""The adapter to AndroidWorld, against a stand-in for the package: episodes, errors, the process's end."""

import gc
import os
import signal
import sys
import time

import pytest

from perdure import PerdureError
from perdure.cli import app as cli
from perdure.envs.android_world import AndroidWorld
from perdure.envs.device import Action, Episode, get_task, render
from tests.envs.android_world.stand_in import written
from tests.envs.device.hands import answer, click, declare, start, write


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Puts the stand-in where the child finds it; gives what the stand-in was asked for so far."""
    monkeypatch.setenv("PYTHONPATH", str(written(tmp_path)))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "log"))
    return lambda: (tmp_path / "log").read_text().splitlines()


@pytest.fixture
def world(log):
    with AndroidWorld(sys.executable, "AddContact", timeout=20.0) as made:
        yield made


def is_gone(number):
    """Whether there is no process of a number: one that has ended but is not waited for is still there."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_episode(world, log):
    assert world.tasks() == ["AddContact", "Dies", "FailsAtFirst", "Garbles", "Sleeps", "TellNames"]
    episode = world.episode("AddContact", seed=4)
    name = episode.task.params["name"]
    assert episode.task.goal == f"Add the contact {name}."
    assert (episode.task.name(), episode.task.app_names, episode.left) == ("AddContact", ("contacts",), 12)
    assert render(episode.phone) == "com.example/home\n   0 Contacts TextView"
    click(episode, "Contacts", "Add")
    write(episode, Name=name)
    field = episode.phone.elements()[1]
    assert (field.text, field.details, field.class_name) == (name, ("Name",), "EditText")
    assert (field.box, field.editable, field.focused, field.checkable) == (
        (0, 100, 1000, 200),
        True,
        True,
        False,
    )
    click(episode, "Save")
    assert (episode.reward, episode.over) == (0.0, False)
    # What is done counts once the agent has said so.
    assert declare(episode) == 1.0
    assert (episode.over, episode.left) == (True, 6)
    with pytest.raises(PerdureError, match="expected a new episode"):
        episode.step(Action("wait"))
    assert log()[0] == "port 5554 8554 adb adb setup False"


def test_what_was_written_for_the_simulated_phone_runs_on_it(world):
    def policy(episode, app, name):
        start(episode, app)
        click(episode, "Add")
        write(episode, Name=name)
        click(episode, "Save")
        return [(type(one), one.text) for one in episode.phone.elements()]

    real = world.episode("AddContact")
    simulated = Episode(get_task("ContactsAdd"))
    for episode, app in ((real, "contacts"), (simulated, "Contacts")):
        shown = policy(episode, app, "Ann Lee")
        assert shown[0][0].__name__ == "Element"
        assert "Add" in [text for _, text in shown]


@pytest.mark.parametrize("last", [Action("wait"), Action("status", goal_status="infeasible")])
def test_without_a_declaration_it_is_no_success(last, world):
    episode = world.episode("AddContact")
    start(episode, "contacts")
    click(episode, "Add")
    write(episode, Name=episode.task.params["name"])
    click(episode, "Save")
    assert episode.step(last) == 0.0
    assert episode.over == (last.action_type == "status")
    if not episode.over:
        # The budget is used up.
        assert episode.play([Action("wait")] * 20) == 0.0
        assert (episode.over, episode.left) == (True, 0)


def test_all_answers_count_together(world):
    for said, reward in ((("Ann", "Bob"), 1.0), (("Ann, Bob",), 1.0), (("Bob", "Ann"), 0.0)):
        episode = world.episode("TellNames")
        for text in said:
            answer(episode, text)
        assert declare(episode) == reward


def test_seeds_decide_the_parameters(world):
    found = [[world.task("AddContact", seed, i).goal for i in range(6)] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) > 1


def test_scrolling_ends_where_nothing_changes(world):
    episode = world.episode("AddContact")
    start(episode, "contacts")
    click(episode, "Eve")
    assert [element.text for element in episode.phone.elements()] == ["Add", "Eve", ""]
    episode.step(Action("scroll", direction="down"))
    assert not episode.phone.can_scroll("down")
    assert episode.phone.can_scroll("up")
    # A swipe moves the finger the other way.
    for _ in range(3):
        episode.step(Action("swipe", direction="down"))
    assert not episode.phone.can_scroll("up")
    assert episode.phone.can_scroll("down")


def test_what_points_at_nothing_does_nothing(world, log):
    episode = world.episode("AddContact")
    before = len(log())
    for action in (Action("click", index=1), Action("long_press", index=-1), Action("click", index=99)):
        episode.step(action)
    assert len(log()) == before
    # A point at the edge is a point.
    episode.step(Action("click", x=0, y=0))
    assert episode.phone.screen == "com.example/list"
    episode.phone.status = "complete"
    episode.phone.do(Action("navigate_home"))
    assert episode.phone.screen == "com.example/list"


def test_as_gymnasium_has_it(world):
    seen, info = world.reset(seed=3)
    assert (seen[0].text, info["goal"]) == ("Contacts", world.goal)
    assert world.reset(seed=3)[1] == info
    goals = {world.reset()[1]["goal"] for _ in range(6)}
    assert len(goals) > 1
    seen, *rest = world.step(Action("click", index=0))
    assert rest == [0.0, False, False, {}]
    assert world.render().startswith("com.example/list\n   0 Add Button\n")
    assert world.step(Action("status", goal_status="complete"))[1:4] == (0.0, True, False)
    assert world.step(Action("wait"))[1:4] == (0.0, True, False)
    assert world.reset(options={"task": "TellNames"})[1]["goal"].startswith("Who is")


def test_tasks_are_torn_down_once_and_the_process_ends(log):
    with AndroidWorld(sys.executable, console_port=5558, adb_path="/x/adb", timeout=20.0) as world:
        number = world._process._child.pid
        first = world.episode("AddContact")
        world.episode("TellNames")
        first.task.tear_down(first.phone)
        assert not is_gone(number)
    assert [line for line in log() if "tear_down" in line] == ["tear_down AddContact", "tear_down TellNames"]
    assert log()[0] == "port 5558 8554 adb /x/adb setup False"
    assert log()[-1] == "close"
    assert is_gone(number)
    with pytest.raises(PerdureError, match="found one that was closed or has ended"):
        world.task("AddContact")
    world.close()


def test_who_forgets_to_close_leaves_no_process(log):
    world = AndroidWorld(sys.executable, timeout=20.0)
    number = world._process._child.pid
    del world
    gc.collect()
    assert is_gone(number)


# ---- errors -------------------------------------------------------------------------------------------


def test_an_error_of_the_package_is_one_line_and_the_world_goes_on(world):
    with pytest.raises(PerdureError, match=r"failed to initialize: ValueError: no such database$") as caught:
        world.episode("FailsAtFirst")
    assert "\n" not in str(caught.value)
    episode = world.episode("AddContact")
    with pytest.raises(PerdureError, match="failed to act: ValueError: No app Contact"):
        start(episode, "Contact")
    assert episode.phone.elements()[0].text == "Contacts"


def test_a_process_that_dies(world):
    with pytest.raises(
        PerdureError, match="ended with status 3 when asked to initialize: Fatal: out of memory"
    ):
        world.episode("Dies")
    with pytest.raises(PerdureError, match="closed or has ended"):
        world.episode("AddContact")


def test_a_process_that_is_killed(world):
    episode = world.episode("AddContact")
    episode.phone.elements()
    os.kill(world._process._child.pid, signal.SIGKILL)
    with pytest.raises(PerdureError, match=f"ended with status {-signal.SIGKILL} when asked to act"):
        start(episode, "contacts")


def test_an_answer_that_takes_too_long(world):
    world._process.timeout = 0.3
    number, began = world._process._child.pid, time.monotonic()
    with pytest.raises(
        PerdureError, match=r"took more than 0\.3 seconds to initialize: its process was ended"
    ):
        world.episode("Sleeps")
    assert is_gone(number)
    assert time.monotonic() - began < 5


def test_an_answer_that_is_none(world):
    number = world._process._child.pid
    with pytest.raises(
        PerdureError, match="expected an answer in JSON from android_world; found 'what is this'"
    ):
        world.episode("Garbles")
    assert is_gone(number)


def test_a_screen_that_is_none(world, monkeypatch):
    episode = world.episode("AddContact")
    monkeypatch.setattr(world._process, "ask", lambda do, **_: {"screen": "x", "elements": [{"text": "y"}]})
    with pytest.raises(PerdureError, match="expected a screen from android_world; found"):
        episode.phone.elements()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AndroidWorld("/no/such/python"), "cannot start the Python '/no/such/python': No such file"),
        (lambda: AndroidWorld(sys.executable, console_port=5556), "emulator that runs, on console port 5556: "
         "android_world failed to connect: RuntimeError: Failed to connect to emulator-5556"),
        (lambda: AndroidWorld(sys.executable, "AddContacts"), "unknown task 'AddContacts': did you mean"),
        (lambda: AndroidWorld(sys.executable, console_port=0), "console_port must be a whole number"),
        (lambda: AndroidWorld(sys.executable, timeout=0.0), "timeout must be positive"),
    ],
)  # fmt: skip
def test_what_is_refused_at_once(make, message, log):
    with pytest.raises(PerdureError, match=message):
        make()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda world: world.step(Action("wait")), "expected a reset first"),
        (lambda world: world.reset(options={"x": 1}), "options of a reset can be task; found {'x': 1}"),
        (lambda world: world.episode("Add"), "unknown task 'Add'"),
        (lambda world: world.task("AddContact", seed=-1), "seed must be a whole number"),
        (lambda world: world.episode("AddContact").phone.do("click"), "expected an Action; found 'click'"),
    ],
)
def test_refusals(build, message, world):
    with pytest.raises(PerdureError, match=message):
        build(world)


def test_a_python_without_the_package(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(PerdureError, match="expected a Python that has the package android_world") as e:
        AndroidWorld(sys.executable)
    assert "No module named 'android_world'" in str(e.value)


def test_it_is_never_imported_here():
    assert not [name for name in sys.modules if name.split(".")[0] == "android_world"]


# ---- in the terminal ----------------------------------------------------------------------------------


def test_the_command(log, monkeypatch, capsys):
    import io

    def run(*arguments, typed=""):
        command = ["perdure", "device", *arguments, "--android-world", sys.executable]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    assert "AddContact\nDies\n" in run()[1]
    status, out, _ = run("TellNames", typed="answer Ann\nanswer Bob\ndone\n")
    assert status == 0
    assert "(12 steps)\n\ncom.example/home\n   0 Contacts TextView\n" in out
    assert out.endswith("reached, 9 steps left\n")
    status, _, err = run("TellNames", "--oracle")
    assert (status, err.count("\n")) == (2, 1)
    assert "AndroidWorld has no oracle" in err
