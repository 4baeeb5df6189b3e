"""The command line: what it prints, what it writes, how it fails."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from perdure import load
from perdure.cli import app as cli
from perdure.experiment import compare
from perdure.strategies import Naive

QUICK = ["--seeds", "2", "--epochs", "1", "--quiet"]


def perdure(monkeypatch, capsys, *arguments):
    """Run the command in this process; returns status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["perdure", *map(str, arguments)])
    status = 0
    try:
        cli.main()
    except SystemExit as stop:
        status = stop.code or 0
    out, err = capsys.readouterr()
    return status, out, err


def test_compare_writes_a_run_and_its_report(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "first"
    status, out, _ = perdure(
        monkeypatch, capsys, "compare", "split-digits", "naive", "ewc(strength=20)", *QUICK, "--out", folder
    )
    assert status == 0
    assert "average accuracy" in out
    assert f"report: {folder / 'report.html'}" in out.replace("\n", "")
    assert "<html" in (folder / "report.html").read_text()
    assert load(folder).strategies == ["naive", "ewc(strength=20)"]


def test_report_is_made_again_from_the_folder(monkeypatch, capsys, tmp_path):
    compare("split-digits", ["naive"], seeds=2, epochs=1, quiet=True, out=tmp_path / "run")
    status, _, _ = perdure(monkeypatch, capsys, "report", tmp_path / "run", "--out", tmp_path / "page.html")
    assert status == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_run_reads_a_file(monkeypatch, capsys, tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text('stream = "split-digits"\nstrategies = ["naive"]\nseeds = [3, 4]\nepochs = 1\n')
    status, _, _ = perdure(monkeypatch, capsys, "run", file, "--out", tmp_path / "run", "--quiet")
    assert status == 0
    assert load(tmp_path / "run").seeds == [3, 4]


def test_list_names_everything(monkeypatch, capsys):
    status, out, _ = perdure(monkeypatch, capsys, "list")
    assert status == 0
    for name in ("split-digits", "ewc(strength=20.0", "mlp(", "adamw(", "forgetting", "cosine"):
        assert name in out


BAD = [
    (["compare", "split-digit", "naive"], "did you mean split-digits"),
    (["compare", "split-digits", "naiv"], "did you mean naive"),
    (["compare", "split-digits(classes_per_task=3)", "naive"], "must divide 10"),
    (["compare", "split-digits", "ewc(strength=-1)"], "at least 0"),
    (["compare", "split-digits", "naive", "--seeds", "two"], "seeds must be a count or a list"),
    (["compare", "split-digits", "naive", "--tune", "lr"], "tune must look like"),
    (["compare", "split-digits", "naive", "--device", "cuda:99"], "CUDA devices found"),
    (["compare", "split-digits", "naive", "--tune", "lr=0.1", "--tune", "lr=0.2"], "tune must give lr once"),
    (["compare", "split-digits", "naive", "--tune", "lr=0.1,0.1"], "different values"),
    (["compare", "split-digits", "naive", "--resume"], "resume needs the folder"),
    (["compare", "split-digits", "naive", "--epochs", "two"], "--epochs"),
    (["compare", "split-digits", "naive", "--nonsense"], "--nonsense"),
    (["compare", "split-digits"], "strategies"),
    (["nonsense"], "nonsense"),
    (["report", "nowhere"], "expected a folder with a run"),
    (["run", "nowhere.toml"], "cannot read nowhere.toml"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_status_2(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = perdure(monkeypatch, capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("perdure: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stream = 'split-digits'", "expected the key 'strategies'"),
        ("stream = 'split-digits'\nstrategies = ['naive']\nseed = 3", "did you mean seeds"),
        ("stream =", "is none"),
        ("stream = 'split-digits'\nstrategies = 'naive'\nout = 5", "out must be a string or None; found 5"),
    ],
)
def test_a_bad_file_is_one_line_and_status_2(text, message, monkeypatch, capsys, tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    status, _, err = perdure(monkeypatch, capsys, "run", file)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_the_command_is_installed_and_an_output_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    command = [sys.executable, "-c", "from perdure.cli.app import main; main()"]
    done = subprocess.run(
        [*command, "compare", "split-digits", "naive", *QUICK, "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


MAIN = [sys.executable, "-c", "from perdure.cli.app import main; main()"]


def test_a_second_run_into_a_folder_says_what_to_write_and_a_finished_one_is_shown(
    monkeypatch, capsys, tmp_path
):
    call = ["compare", "split-digits | take(2)", "naive", *QUICK, "--out", tmp_path / "run"]
    assert perdure(monkeypatch, capsys, *call)[0] == 0
    before = (tmp_path / "run" / "scores.safetensors").read_bytes()
    status, out, err = perdure(monkeypatch, capsys, *call, "--lr", "0.01")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--resume" in err
    assert "--overwrite" in err
    status, out, _ = perdure(monkeypatch, capsys, *call, "--resume")
    assert status == 0
    assert "average accuracy" in out
    assert (tmp_path / "run" / "scores.safetensors").read_bytes() == before
    assert perdure(monkeypatch, capsys, *call, "--lr", "0.01", "--overwrite")[0] == 0
    assert load(tmp_path / "run").config["lr"] == 0.01


def test_a_strategy_that_fails_is_status_1_after_the_table(monkeypatch, capsys, tmp_path):
    def fail(self, net, params, state, task):
        raise RuntimeError("no luck")

    monkeypatch.setattr(Naive, "end_task", fail)
    call = ["compare", "split-digits | take(2)", "naive", "joint", *QUICK, "--out", tmp_path / "run"]
    status, out, _ = perdure(monkeypatch, capsys, *call)
    assert status == 1
    assert "joint" in out
    assert "note: naive: no results, it failed: RuntimeError: no luck" in out
    assert load(tmp_path / "run").strategies == ["joint"]
    status, out, err = perdure(monkeypatch, capsys, "compare", "split-digits | take(2)", "naive", *QUICK)
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("out", [True, False])
def test_a_signal_is_one_line_and_its_status(number, status, out, monkeypatch, capsys, tmp_path):
    def stop(self, net, params, state, task):
        if task.index:
            os.kill(os.getpid(), number)
            time.sleep(1)
        return params, state

    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(Naive, "end_task", stop)
    call = [
        "compare",
        "split-digits | take(2)",
        "naive",
        *QUICK,
        *(["--out", tmp_path / "run"] if out else []),
    ]
    found, printed, err = perdure(monkeypatch, capsys, *call)
    assert (found, printed, err.count("\n")) == (status, "", 1)
    assert ("--resume" in err) is out
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    if out:
        assert len(list((tmp_path / "run" / "checkpoint").glob("naive-*.safetensors"))) == 1
        monkeypatch.undo()
        assert perdure(monkeypatch, capsys, *call, "--resume")[0] == 0


def test_an_interruption_that_is_raised_is_one_too(monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("perdure.experiment.compare", stop)
    status, _, err = perdure(
        monkeypatch, capsys, "compare", "split-digits", "naive", "--out", tmp_path / "run"
    )
    assert status == 130
    assert re.fullmatch(r"perdure: stopped; .*--resume.*\n", err)


def test_who_stops_reading_and_a_full_disk_get_no_traceback():
    listing = subprocess.Popen([*MAIN, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listing.stdout.close()
    assert listing.stderr.read() == ""
    listing.stderr.close()
    assert listing.wait() == 1
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*MAIN, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert done.stderr == "perdure: expected to write the output; found: No space left on device\n"


def test_no_arguments_show_the_help(monkeypatch, capsys):
    status, out, err = perdure(monkeypatch, capsys)
    assert (status, err) == (0, "")
    assert "Usage: perdure" in out
