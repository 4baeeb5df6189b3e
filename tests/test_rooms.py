"""The rooms of the package: which way imports point, what importing costs, what may not be in the code."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import perdure

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "perdure"

# Each line may import from the lines above it. What stands on one line does not import its neighbours.
LEVELS = (
    ("core",),
    ("optim", "models", "envs", "analysis"),
    ("scenarios",),
    ("strategies",),
    ("training",),
    ("engine",),
    ("experiment",),
    ("pretrain", "sensitivity"),
    ("testing", "cli"),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Inside strategies: families stand side by side.
WITHIN = {"contract": 0, "parts": 1}
FAMILY = 2
FOREIGN = {"avalanche", "torchjd", "peft"}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def place_of(path):
    """The rooms that a file lies in, from the outside in: ``["strategies", "replay", "der"]``."""
    return list(path.relative_to(PACKAGE).with_suffix("").parts)


@cache
def nodes(path):
    """What of a file's syntax is looked at: its imports, and its calls."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]


def imported(path):
    """Names of the modules that a file imports, wherever: on top, in a function, for type checkers."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def places_imported(path):
    names = [name.split(".") for name in imported(path)]
    return [parts[1:] for parts in names if parts[0] == "perdure" and len(parts) > 1]


def test_every_file_belongs_to_a_room():
    assert {place_of(path)[0] for path in modules()} <= set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_left(path):
    own = place_of(path)
    for place in places_imported(path):
        left = place[0] == own[0] or LEVEL[place[0]] < LEVEL[own[0]]
        assert left, f"{'/'.join(own)} imports {'.'.join(place)}"
        if own[0] == place[0] == "strategies" and own[1:2] != ["__init__"] and len(place) > 1:
            here, there = (WITHIN.get(name, FAMILY) for name in (own[1], place[1]))
            inside = place[1] == own[1] or there < here
            assert inside, f"{'/'.join(own)} imports {'.'.join(place)}: share it through strategies/parts"
    if own[:2] != ["strategies", "interop"]:
        assert not FOREIGN & {name.split(".")[0] for name in imported(path)}


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
        calls = {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
        assert not {"torch.load", "np.load", "numpy.load"} & calls, path


HEAVY = {"torchvision", "avalanche", "matplotlib", "seaborn", "pettingzoo", "transformers", "ray"}


def test_the_package_shows_what_there_is():
    code = (
        "import perdure\nassert {'compare', 'strategies', '__version__'} <= {*dir(perdure)}\n"
        "assert perdure.__version__.count('.') == 2\nassert not hasattr(perdure, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(perdure, name) is not None for name in dir(perdure))


def test_importing_the_package_is_quick(fresh):
    seconds, loaded = fresh["package"]
    assert seconds < 2.5
    assert not (HEAVY | {"gymnasium"}) & loaded


@pytest.mark.parametrize("step", ["rooms", "run"])
def test_what_is_loaded_only_when_used(step, fresh):
    assert not HEAVY & fresh[step][1]


def test_training_does_not_load_torchs_compiler(fresh):
    assert not {"torch._dynamo", "sympy"} & fresh["run"][1]


def test_importing_strategies_is_light(fresh):
    assert not {"scipy", "sklearn", "pandas"} & fresh["strategies"][1]
