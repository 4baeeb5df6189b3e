"""CONTRIBUTING.md's recipes, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("strategy with a memory", "generator without a source", "source")  # in a folder of one's own
RECIPES = ("strategy", "stream generator", "stream operator", "data source", "environment", "metric")
STEP = re.compile(
    r"^(?:(?P<new>New file)|(?P<end>Append to)|"
    r"[^\n]*?[Aa]dd to (?:the (?P<imports>imports) of|`(?P<anchor>[^`\n]+)` in)) "
    r"`(?P<path>[^`]+)`:\n\n```python\n(?P<text>.*?)```",
    re.MULTILINE | re.DOTALL,
)


def sections(verb="Add"):
    """The recipes by name: those that add to the repository, or those that write a file of one's own."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (Add|Write) an? (.+)\n", text, flags=re.MULTILINE)
    found = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {name: body for said, name, body in found if said == verb}


def follow(step, root):
    """Carry out one step in the copy; returns the file."""
    path, text = root / step["path"], step["text"]
    if step["new"]:
        assert not path.exists(), f"{step['path']} is there already: choose another example"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
    old = path.read_text(encoding="utf-8")
    if step["end"]:
        new = f"{old}\n\n{text}"
    elif step["imports"]:
        place = re.search(r"^from perdure", old, re.MULTILINE).start()
        new = old[:place] + text + old[place:]
    else:
        # Right behind the bracket that opens the dictionary, list, set or tuple of that name.
        opening = re.search(
            rf"^{step['anchor']}\b.*?(?:=|\bin) (?:frozenset\()?[\[({{]\n?", old, re.MULTILINE
        )
        assert opening, f"no {step['anchor']} in {step['path']}"
        new = old[: opening.end()] + text + old[opening.end() :]
    path.write_text(new, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with all recipes followed, docs written, and lint clean."""
    root = tmp_path_factory.mktemp("contributing")
    for name in ("perdure", "docs", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    changed = {follow(step, root) for recipe in sections().values() for step in STEP.finditer(recipe)}
    run(root, "ruff", "format", "--quiet", *changed)
    run(root, "ruff", "check", "--quiet", "--fix", *changed)
    run(root, sys.executable, "docs/generate.py")
    return root


def run(root, command, *arguments, package=None):
    """Run a command of this environment in a folder, on the package there or in ``package``."""
    place = Path(sys.executable).with_name(command) if command != sys.executable else command
    done = subprocess.run(
        [str(place), *map(str, arguments)], cwd=root, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(package or root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_recipes_are_there_and_every_block_is_a_step():
    assert tuple(sections()) == RECIPES
    assert tuple(sections("Write")) == OWN
    for name, text in [*sections().items(), *sections("Write").items()]:
        assert text.count("```python") == len(list(STEP.finditer(text))), name


@pytest.mark.parametrize("name", OWN)
def test_a_file_of_ones_own_is_short_and_alone(name):
    code, test = (step for step in STEP.finditer(sections("Write")[name]))
    assert code["new"]
    assert test["new"]
    assert test["path"] == f"test_{code['path']}"
    assert code["text"].count("\n") + test["text"].count("\n") < 80


@pytest.mark.slow
def test_files_of_ones_own_work_without_a_change_elsewhere(tmp_path):
    for recipe in sections("Write").values():
        for step in STEP.finditer(recipe):
            follow(step, tmp_path)
    assert "failed" not in run(
        tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", package=ROOT
    )
    run(tmp_path, "ruff", "check", "--isolated", "--select", "E,F,W,B,UP,SIM", "--line-length", "110", ".")


@pytest.mark.slow
def test_each_recipe_works(copy):
    new = [s["path"] for r in sections().values() for s in STEP.finditer(r) if s["path"].startswith("tests/")]
    assert len(new) == len(RECIPES)
    assert "failed" not in run(copy, "pytest", "-q", "-p", "no:cacheprovider", *new)


@pytest.mark.slow
def test_what_was_added_is_listed_and_documented(copy):
    said = run(copy, sys.executable, "-c", "from perdure.cli.app import main; main()", "list")
    page = (copy / "README.md").read_text(encoding="utf-8")
    for name in ("anchor", "dimmed", "backwards", "wine", "worst_task"):
        assert f"| `{name}` |" in page
    for name in ("anchor(strength=0.1)", "dimmed-digits", "wine", "thermostat(outside=5.0", "worst_task"):
        assert name in said
    reference = (copy / "docs" / "api.md").read_text(encoding="utf-8")
    assert "### Anchor\n" in reference
    assert "### Thermostat\n" in reference
    assert "### worst_task\n" in reference


@pytest.mark.slow
def test_imports_still_point_left(copy):
    run(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_rooms.py", "-k", "point_left or belongs")
