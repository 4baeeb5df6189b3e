"""``perdure device``: a task in the terminal."""

import io
import sys

import pytest

from perdure.cli import app as cli
from perdure.cli.device import read, written
from perdure.envs.device import Action, templates


@pytest.fixture
def device(monkeypatch, capsys):
    """Runs the command with lines that are typed; returns status, standard output and standard error."""

    def run(*arguments, typed=()):
        monkeypatch.setattr(sys, "argv", ["perdure", "device", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return run


def test_without_a_name_it_lists_the_tasks(device):
    status, out, _ = device()
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [*templates()]


@pytest.mark.parametrize("name", ["CalendarAllOn", "SettingsNetwork"])
def test_what_the_oracle_does_can_be_typed(name, device):
    status, out, _ = device(name, "--oracle", "--seed", 3)
    assert status == 0
    assert "\nreached, " in out
    shown = [line[2:] for line in out.splitlines() if line.startswith("> ")]
    assert shown[-1] == "done"
    again = device(name, "--seed", 3, typed=shown)
    assert "\nreached, " in again[1]
    assert "\nnot reached, " in device(name, "--seed", 4, "--index", 1, typed=shown[:1])[1]


def test_what_is_no_action_is_said_and_asked_again(device):
    typed = ["clik 3", "click", "click one", "back now", "scroll out", "open Settings"]
    typed += [f"click {'9' * 5000}", "quit now", "quit"]
    status, out, _ = device("SettingsWifi", typed=typed)
    assert status == 0
    for message in (
        "unknown action 'clik': did you mean click", "expected click and what; found 'click'",
        "expected the index of an element; found 'one'", "expected back alone; found 'back now'",
        "one of up, down, left, right; found 'out'", "settings/main",
        "expected quit alone; found 'quit now'", "element; found '9999", "not reached, 9 steps left",
    ):  # fmt: skip
        assert message in out


def test_an_unknown_task_is_one_line_and_status_2(device):
    status, out, err = device("SettingsWify")
    assert (status, out) == (2, "")
    assert err.startswith("perdure: unknown task 'SettingsWify': did you mean SettingsWifi")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "action",
    [
        Action("click", index=3), Action("long_press", index=0), Action("input_text", text="a b"),
        Action("input_text", text="3", clear_text=True), Action("scroll", direction="up"),
        Action("open_app", app_name="Calendar"),
        Action("answer", text="1, 2"), Action("navigate_back"), Action("wait"), Action("keyboard_enter"),
        Action("status", goal_status="infeasible"),
    ],
)  # fmt: skip
def test_actions_are_written_as_they_are_read(action):
    assert read(written(action)) == action


def test_options_without_a_task_are_refused(device):
    for options in (["--oracle"], ["--seed", 3], ["--index", 1]):
        status, out, err = device(*options)
        assert (status, out) == (2, "")
        assert "expected a task with --seed, --index and --oracle; found none" in err
    _, _, err = device("SettingsWifi", "--index", 10**20)
    assert "index must be a whole number of at most 9,223," in err


def test_what_is_no_text_is_no_action(monkeypatch, capsys):
    lines = io.TextIOWrapper(io.BytesIO(b"type \xff\xfe\nquit\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["perdure", "device", "SettingsWifi"])
    monkeypatch.setattr(sys, "stdin", lines)
    cli.main()
    assert "not reached, 9 steps left" in capsys.readouterr().out


def test_a_field_can_be_emptied():
    assert read("clear") == Action("input_text", text="", clear_text=True)
    assert written(read("clear")) == "clear"
