"""The command line: what it prints, what it writes, how it fails."""

import subprocess
import sys

import pytest

from perdure import cli, load
from perdure.experiment import compare

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
    assert load(folder).strategies == ["naive", "ewc"]


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
    command = [sys.executable, "-c", "from perdure.cli import main; main()"]
    done = subprocess.run(
        [*command, "compare", "split-digits", "naive", *QUICK, "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
