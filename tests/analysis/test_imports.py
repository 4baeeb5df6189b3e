"""Analysis stands alone, is light to import, and its files import each other without circles."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import perdure.analysis

ROOM = Path(perdure.analysis.__file__).parent
FILES = sorted(ROOM.rglob("*.py"))
HEAVY = {"matplotlib", "seaborn", "pandas", "scipy", "jinja2", "safetensors", "torch"}


def module(file: Path) -> str:
    parts = file.relative_to(ROOM.parents[1]).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module(file) for file in FILES}


def imported(file: Path) -> set[str]:
    """Modules that a file imports, wherever: on top, in a function, for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            # "from package import module" is about the module, "from module import name" about that module.
            found |= {name if name in MODULES else str(node.module) for name in inside}
    return found


def test_importing_loads_nothing_heavy(fresh: dict[str, tuple[float, set[str]]]) -> None:
    assert not HEAVY & fresh["analysis"][1]


@pytest.mark.parametrize("file", FILES, ids=module)
def test_only_errors_are_taken_from_the_other_rooms(file: Path) -> None:
    names = imported(file)
    taken = [name for name in names if name.split(".")[0] == "perdure"]
    assert all(name == "perdure.core.errors" or name.startswith("perdure.analysis") for name in taken)
    assert "pickle" not in names


def test_there_is_no_circle() -> None:
    graph = {module(file): imported(file) & MODULES for file in FILES}
    order = list(TopologicalSorter(graph).static_order())  # a circle is a CycleError that names it
    assert order.index("perdure.analysis.record") < order.index("perdure.analysis.results")


def test_the_facade_is_imported_by_nothing_below_it() -> None:
    above = {module(file) for file in FILES if "perdure.analysis.results" in imported(file)}
    assert above == {"perdure.analysis"}


def test_everything_exported_exists() -> None:
    for name in perdure.analysis.__all__:
        assert hasattr(perdure.analysis, name)
