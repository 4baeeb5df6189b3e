"""The command line: what it prints, what it writes, how it fails."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from perdure import __version__, load
from perdure.cli import app as cli
from perdure.cli import catalogue
from perdure.cli.explaining import explain
from perdure.cli.showing import show
from perdure.experiment import compare
from perdure.strategies import Naive
from perdure.testing import tiny_stream

QUICK = ["--seeds", "2", "--epochs", "1", "--quiet"]
SMALL = {"seeds": 2, "epochs": 1, "quiet": True, "model": "mlp(hidden=[4])"}


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
        monkeypatch, capsys, "compare", "split-digits | take(2)", "naive", "ewc(strength=20)", *QUICK,
        "--out", folder,
    )  # fmt: skip
    assert status == 0
    assert "average accuracy" in out
    assert f"report: {folder / 'report.html'}" in out.replace("\n", "")
    assert "<html" in (folder / "report.html").read_text()
    assert load(folder).strategies == ["naive", "ewc(strength=20)"]


@pytest.mark.usefixtures("without_report")
def test_report_is_made_again_from_the_folder(monkeypatch, capsys, tmp_path):
    compare("split-digits | take(2)", ["naive"], seeds=2, epochs=1, quiet=True, out=tmp_path / "run")
    status, _, _ = perdure(monkeypatch, capsys, "report", tmp_path / "run", "--out", tmp_path / "page.html")
    assert status == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.usefixtures("without_report")
def test_run_reads_a_file(monkeypatch, capsys, tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text('stream = "split-digits | take(2)"\nstrategies = ["naive"]\nseeds = [3, 4]\nepochs = 1\n')
    status, _, _ = perdure(monkeypatch, capsys, "run", file, "--out", tmp_path / "run", "--quiet")
    assert status == 0
    assert load(tmp_path / "run").seeds == [3, 4]


def test_a_run_from_python_leaves_the_report_as_well(tmp_path):
    folder = tmp_path / "run"
    compare(tiny_stream("class", tasks=1), "naive", seeds=2, epochs=1, out=folder, quiet=True)
    assert "<html" in (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    compare(tiny_stream("class", tasks=1), "naive", seeds=2, epochs=1, out=folder, quiet=True, resume=True)
    assert "<html" in (folder / "report.html").read_text()


@pytest.mark.parametrize("width", ["80", "132"])
def test_list_names_everything_as_it_is_typed_within_the_terminal(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    status, out, _ = perdure(monkeypatch, capsys, "list")
    assert status == 0
    for name in (
        "split-digits",
        "ewc(strength=20.0",
        "mlp(",
        "adamw(",
        "forgetting",
        "cosine",
        "blur(width=",
    ):
        assert name in out
    assert max(map(len, out.splitlines())) <= int(width)
    assert "(stream" not in out
    assert "`" not in out


def test_list_of_one_kind(monkeypatch, capsys):
    status, out, _ = perdure(monkeypatch, capsys, "list", "operators")
    assert status == 0
    assert out.startswith("operators (STREAM | OPERATOR):\n  blur(width=0.2, seed=0)")
    assert "ewc" not in out
    status, _, err = perdure(monkeypatch, capsys, "list", "Strategys")
    assert status == 2
    assert "did you mean strategies" in err


def test_show_prints_parameters_with_their_meaning_the_formula_and_the_source(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = perdure(monkeypatch, capsys, "show", "ewc")
    assert status == 0
    assert out.startswith("ewc(strength=20.0, fisher=empirical, samples=None): strategy\n")
    for part in (
        "strength / 2 * sum_t sum_k F_t,k (theta_k - theta_t,k)^2",
        "strength=20.0: a number Weight of the penalty.",
        "fisher=empirical: 'empirical', 'sampled' or 'batch' \"empirical\": mean squared",
        "Source: Kirkpatrick et al., PNAS 2017",
    ):
        assert part in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "split-mnist-5k",
            ["split-mnist-5k: stream", "setting=class:", "split-mnist-5k: source", "mnist_5k.csv"],
        ),
        ("replay(100)", ["replay(", "policy="]),
        ("blur", ["blur(width=0.2, seed=0): operator", "Share of a task's samples"]),
        ("forgetting", ["forgetting: metric, Forgetting, lower is better", "max_{l<T}"]),
        ("mlp", ["mlp(", "hidden=(256, 256): a list of whole numbers", "one number is one layer."]),
    ],
)
def test_show_knows_every_kind(name, parts, monkeypatch, capsys):
    status, out, _ = perdure(monkeypatch, capsys, "show", name)
    assert status == 0
    for part in parts:
        assert part in out
    assert ":func:" not in out
    assert "Error" not in out


def test_every_name_can_be_shown():
    for kind, rows in catalogue.everything().items():
        for name, _ in rows:
            assert kind == "environments" or "".join(explain(name.partition("(")[0]))


@pytest.mark.usefixtures("without_report")
def test_version_and_short_options(monkeypatch, capsys, tmp_path):
    assert perdure(monkeypatch, capsys, "--version") == (0, f"perdure {__version__}\n", "")
    assert "Usage: perdure" in perdure(monkeypatch, capsys, "-h")[1]
    assert "--import" in perdure(monkeypatch, capsys, "compare", "-h")[1]
    call = ["compare", "split-digits | take(2)", "naive", *QUICK[:-1], "-q", "-o", tmp_path / "run"]
    assert perdure(monkeypatch, capsys, *call)[0] == 0
    assert load(tmp_path / "run").strategies == ["naive"]


def test_completion_and_the_module_as_a_command():
    clean = {
        **os.environ,
        "_PERDURE_COMPLETE": "complete_bash",
        "COMP_WORDS": "perdure co",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "perdure"], capture_output=True, text=True, check=True, env=clean
    )
    assert done.stdout == "compare\n"


@pytest.mark.parametrize("width", [50, 80])
def test_the_table_cuts_no_name_and_shows_what_was_chosen(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"replay(capacity={size}, policy=class) + ewc(strength=10)" for size in (100, 200)]
    results = compare("split-digits | take(2)", [*names, "naive"], tune={"lr": [0.1, 0.2]}, **SMALL)
    show(results)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    for number, name in enumerate(results.strategies, 1):
        assert f"{number}: {name}" in out.replace("\n", "") or f"{number}: {name}" in out
        assert f"lr={results.extras[name]['chosen']['lr']:g}" in out
    assert "chosen by tune" in " ".join(out.split()) or width == 50


def test_short_names_stand_in_the_table(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show(compare("split-digits | take(2)", ["ewc(1)", "ewc(20)"], **SMALL))
    rows = capsys.readouterr().out.splitlines()[2:4]
    assert [row.split()[0] for row in rows] == ["ewc(1)", "ewc(20)"]


MINE = '''
import torch
from perdure import scenarios
from perdure.models import MODELS
from perdure.strategies import Strategy, strategy

@scenarios.register("turning-blobs")
def blobs(tasks: int = 3, seed: int = 0) -> scenarios.Stream:
    """Two blobs that turn."""
    made = []
    for angle in range(tasks):
        y = torch.arange(20) % 2
        made.append(((2.0 * y - 1).unsqueeze(1) * torch.tensor([1.0, float(angle)]), y))
    return scenarios.from_arrays(made, "domain", seed=seed, name="turning-blobs")

@strategy("shrink")
class Shrink(Strategy):
    """Shrink all weights."""
    rate: float = 0.5

    def after_step(self, net, params, state, step):
        return {k: v * (1 - self.rate) for k, v in params.items()}, state

@MODELS.register("thin")
def thin(width: int = 2):
    return lambda shape, outputs: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[0], outputs))
'''


@pytest.fixture
def forgotten(monkeypatch):
    """What a test imports and registers is forgotten after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = {*sys.modules}
    for table in catalogue.registries().values():
        monkeypatch.setattr(table, "_makers", dict(table._makers))
    yield
    for name in {*sys.modules} - modules:
        if name.startswith("perdure_mine"):
            del sys.modules[name]


@pytest.mark.usefixtures("forgotten")
def test_own_code_has_names(monkeypatch, capsys, tmp_path):
    mine = tmp_path / "perdure_mine.py"
    mine.write_text(MINE)
    own = ["--import", mine]
    call = ["compare", "turning-blobs(tasks=2)", "naive", "shrink(rate=0.1)", "--model", "thin(width=3)"]
    status, out, err = perdure(monkeypatch, capsys, *call, *QUICK, *own, *own)
    assert (status, err) == (0, "")
    assert "turning-blobs, 2 seeds" in out
    assert "shrink(rate=0.1)" in out
    assert "  shrink(rate=0.5)" in perdure(monkeypatch, capsys, "list", "strategies", *own)[1]
    assert "Two blobs that turn." in perdure(monkeypatch, capsys, "show", "turning-blobs", *own)[1]


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("perdure_mine1.py", None, "expected a Python file; found none"),
        (
            "perdure_mine2.py",
            "import nothing_like_it",
            "ModuleNotFoundError: No module named 'nothing_like_it'",
        ),
        ("perdure_mine3.py", "def (", "SyntaxError: invalid syntax"),
        ("json.py", "", "expected another name than that of the module json"),
        ("perdure_mine.nowhere", None, "ModuleNotFoundError"),
    ],
)
def test_own_code_that_fails_is_one_line(name, text, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    call = ["compare", "split-digits", "naive", "--import", name, "--out", "run"]
    status, out, err = perdure(monkeypatch, capsys, *call)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"--import {name}: {message}" in err
    assert not (tmp_path / "run").exists()


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
    (["compare", "split-digits", "naive", "--epochs", "two"], "found 'two'"),
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


def test_an_output_folder_that_is_no_run_is_left_alone(monkeypatch, capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    call = ["compare", "split-digits", "naive", *QUICK, "--out", tmp_path]
    status, out, err = perdure(monkeypatch, capsys, *call)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.usefixtures("without_report")
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


@pytest.mark.usefixtures("without_report")
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


@pytest.fixture
def interruptible():
    """Hear SIGINT where a shell that put the tests into the background had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("without_report", "interruptible")
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


# Lists what there is once for each place that standard output leads to, all in copies of one process.
LISTS = """
import os, sys
from perdure.cli import catalogue
from perdure.cli.app import main

catalogue.everything()
reader, closed = os.pipe()
os.close(reader)
for place in (closed, *[os.open(name, os.O_WRONLY) for name in sys.argv[1:]]):
    child = os.fork()
    if not child:
        os.dup2(place, 1)
        sys.argv[1:] = ["list"]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_who_stops_reading_and_a_full_disk_get_no_traceback():
    places = [place for place in ["/dev/full"] if os.path.exists(place)]
    done = subprocess.run([sys.executable, "-c", LISTS, *places], capture_output=True, text=True, check=True)
    full = "perdure: expected to write the output; found: No space left on device\n"
    assert done.stdout.split() == ["1", *["2" for _ in places]]
    assert done.stderr == full * len(places)


def test_no_arguments_show_the_help(monkeypatch, capsys):
    status, out, err = perdure(monkeypatch, capsys)
    assert (status, err) == (0, "")
    assert "Usage: perdure" in out
