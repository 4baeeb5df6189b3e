"""The rooms of the package: which way imports point, what importing costs, what may not be in the code."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "perdure"

# Each line may import from the lines above it and from itself. `analysis` is on its own: see below.
LEVELS = (
    {"errors"},
    {"arguments", "specs"},
    {"registry", "random", "memory", "tree", "refusals"},
    {"layer_draws", "foreign"},
    {"net"},
    {"importance", "models", "analysis"},
    {"envs"},
    {"scenarios"},
    {"strategies"},
    {"settings", "outcome", "progress", "engine", "trained"},
    {"checkpoint"},
    {"experiment", "sweep"},
    {"catalogue", "pretrain", "sensitivity"},
    {"cli", "__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Files that reach to the right, from inside a function, and why.
REACHES = {
    "testing/check_strategy.py": {"engine", "settings"},  # the check of a strategy trains with it
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path, deferred=True):
    """Names of the modules that a file imports when run, without what only type checkers read."""

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from (found for part in child.orelse for found in walk(part))
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield child.module
                if child.module == "perdure":
                    yield from (f"perdure.{alias.name}" for alias in child.names)
            elif deferred or not isinstance(child, ast.FunctionDef):
                yield from walk(child)

    return set(walk(ast.parse(path.read_text(encoding="utf-8"))))


def rooms_imported(path, deferred=True):
    names = [name.split(".") for name in imported(path, deferred)]
    return {parts[1] for parts in names if parts[0] == "perdure" and len(parts) > 1}


def test_every_file_belongs_to_a_room():
    assert {room_of(path) for path in modules()} <= set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_left(path):
    own, file = room_of(path), path.relative_to(PACKAGE).as_posix()
    allowed = {room for room in LEVEL if LEVEL[room] < LEVEL[own]} | {own}
    if LEVEL[own] == LEVEL["engine"]:
        allowed |= LEVELS[LEVEL["engine"]]
    if own == "analysis":
        allowed = {"analysis", "errors"}
    elif LEVEL[own] < LEVEL["engine"]:
        allowed -= {"analysis"}
    wrong = rooms_imported(path) - allowed - REACHES.get(file, set())
    assert not wrong, f"perdure/{file} imports {sorted(wrong)}"
    assert not rooms_imported(path, deferred=False) - allowed, "only a function may reach to the right"


@pytest.mark.parametrize("name", ["envs", "strategies", "scenarios", "analysis"])
def test_root_links(name):
    link = ROOT / name
    assert link.is_symlink()
    assert os.readlink(link) == f"perdure/{name}"
    assert (link / "__init__.py").is_file()


def test_no_unpickling():
    # Reading a run or a checkpoint must not be able to execute anything.
    for path in modules():
        assert not {"pickle", "dill", "cloudpickle", "shelve", "joblib"} & imported(path), path
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not {"torch.load", "np.load", "numpy.load"} & calls, path


HEAVY = ("torchvision", "avalanche", "matplotlib", "seaborn", "pettingzoo", "transformers", "ray")


def fresh(code):
    """Run code in a new interpreter; returns its CPU seconds and which heavy packages it loaded."""
    tail = (
        "\nimport resource, sys\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        f"print(used.ru_utime + used.ru_stime, *[m for m in {HEAVY} if m in sys.modules])"
    )
    clean = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True, env=clean
    )
    seconds, *loaded = done.stdout.split()
    return float(seconds), loaded


def test_importing_the_package_is_quick():
    seconds, loaded = fresh("import perdure")
    assert seconds < 2.5
    assert not loaded


@pytest.mark.parametrize(
    "code",
    [
        "from perdure import compare, load, check_strategy, check_stream",
        "import perdure.scenarios, perdure.strategies, perdure.models, perdure.envs, perdure.analysis",
        "import perdure; perdure.compare('split-digits', ['naive'], seeds=1, epochs=1, quiet=True)",
    ],
)
def test_what_is_loaded_only_when_used(code):
    _, loaded = fresh(code)
    assert not loaded
