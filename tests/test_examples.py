"""Every example runs, and writes what it says."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import perdure
from perdure.cli.reading import read_file

EXAMPLES = Path(__file__).parents[1] / "examples"
WRITTEN = {
    "continual_evaluation": ["curves.png"],
    "csv_table": ["../run.csv", "scores.csv"],
    "one_tensor": ["report.html"],
    "own_model": ["scores.csv"],
    "own_strategy": ["average.png"],
    "own_stream": ["forgetting.png"],
    "quickstart": ["forgetting.png", "report.html"],
    "tune_learning_rate": ["scores.csv"],
}


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(WRITTEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_example(name, tmp_path, capsys, table):
    out = tmp_path / "run"
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](out, seeds=3)
    said = capsys.readouterr().out
    for file in WRITTEN[name]:
        assert (out / file).stat().st_size > 100
        assert (out / file).name in said
    assert perdure.load(out).seeds == [0, 1, 2]


@pytest.mark.slow
def test_an_example_is_a_script(tmp_path):
    command = [sys.executable, EXAMPLES / "own_stream.py", "here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "forgetting.png").exists()


def test_the_experiment_file(tmp_path, monkeypatch, capsys):
    from typer.testing import CliRunner

    from perdure.cli.app import app

    text = (EXAMPLES / "experiment.toml").read_text(encoding="utf-8")
    assert read_file(EXAMPLES / "experiment.toml") == tomllib.loads(text)
    small = tmp_path / "small.toml"
    small.write_text(re.sub(r"(?m)^seeds = 10$", "seeds = 2\nepochs = 1", text), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", str(small), "--quiet"])
    assert done.exit_code == 0, done.output
    assert Path("runs/experiment/report.html").exists()
    results = perdure.load("runs/experiment")
    assert results.strategies == ["naive", "ewc(strength=20)", "replay(capacity=200) + ewc", "joint"]
    assert set(results.extras["joint"]["chosen"]) == {"lr"}
