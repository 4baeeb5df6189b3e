"""Analysis stands alone and is light to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perdure.analysis

FILES = sorted(Path(perdure.analysis.__file__).parent.glob("*.py"))
HEAVY = ("matplotlib", "seaborn", "pandas", "scipy", "jinja2", "safetensors", "torch")


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, perdure.analysis; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_only_errors_are_taken_from_the_other_rooms(file: Path) -> None:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    taken = [name for name in names if name.split(".")[0] == "perdure"]
    assert all(name == "perdure.core.errors" or name.startswith("perdure.analysis") for name in taken)
    assert "pickle" not in names


def test_everything_exported_exists() -> None:
    for name in perdure.analysis.__all__:
        assert hasattr(perdure.analysis, name)
