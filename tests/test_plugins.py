"""Plugins of other packages: found through entry points, without a change here."""

import os
import subprocess
import sys

import pytest

from perdure import PerdureError
from perdure.core.registry import Registry

METHODS = '''
from perdure.strategies import Strategy, strategy

@strategy("plain-plugin")
class Plain(Strategy):
    """Do nothing, from outside."""
'''
STREAMS = '''
import torch
from perdure import scenarios

@scenarios.register("plugin-blobs")
def blobs(tasks: int = 3) -> scenarios.Stream:
    """Make blobs."""
    y = torch.arange(20) % 2
    parts = [((2.0 * y - 1).unsqueeze(1) * torch.ones(2), y)] * tasks
    return scenarios.from_arrays(parts, "domain", name="plugin-blobs")
'''
NETS = '''
import torch
from perdure.models import MODELS

@MODELS.register("plugin-net")
def net():
    """Build one layer."""
    return lambda shape, outputs: torch.nn.Linear(shape[0], outputs)
'''
WORLDS = '''
from perdure.envs import ENVS

@ENVS.register("plugin-world")
def world(size: int = 3) -> object:
    """Make a world."""
    return object()
'''


def install(folder, package, entries, **modules):
    """Write a package and what an installer would note of it, entry points included."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("")
    for name, text in modules.items():
        (folder / package / f"{name}.py").write_text(text)
    info = folder / f"{package}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    lines = [f"[{group}]\n{name} = {package}.{name}\n" for group, name in entries]
    (info / "entry_points.txt").write_text("\n".join(lines))


def run(folder, *commands):
    """Run commands one after the other in one new process that has the folder on its path."""
    lines = [f"sys.argv = ['perdure', *{command}]; main()" for command in commands]
    code = "\n".join(["import sys", "from perdure.cli.app import main", *lines])
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_a_package_beside_perdure_has_names_and_a_broken_one_is_one_line(tmp_path):
    groups = ("perdure.strategies", "perdure.scenarios", "perdure.models", "perdure.envs")
    entries = [*zip(groups, ("methods", "streams", "nets", "worlds"), strict=True)]
    install(tmp_path, "perdure_extra", entries, methods=METHODS, streams=STREAMS, nets=NETS, worlds=WORLDS)
    install(tmp_path, "perdure_broken", [("perdure.models", "bad")], bad="import nothing_like_it")
    compare = ["compare", "plugin-blobs(tasks=2)", "plain-plugin", "--seeds", "2", "--epochs", "1", "-q"]
    done = run(tmp_path, compare, ["list"])
    assert done.returncode == 0
    assert done.stdout.startswith("plugin-blobs, 2 seeds")
    for name in ("plain-plugin", "plugin-blobs", "plugin-net", "plugin-world(size=3)", "ewc(", "mlp("):
        assert f"\n  {name}" in done.stdout
    assert done.stderr == (
        "perdure: note: the plugin perdure_broken.bad of perdure_broken, in perdure.models, cannot be loaded "
        "and is left out: ModuleNotFoundError: No module named 'nothing_like_it'\n"
    )


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder on the path, what is imported from it forgotten after the test."""
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in {*sys.modules} - before:
        del sys.modules[name]


OWN = """
from test_plugins_table import TABLE

@TABLE.register({name!r})
def make() -> str:
    return "made"
"""


def test_they_are_imported_when_a_name_is_asked_for_that_is_not_there(beside, monkeypatch):
    table = Registry("thing", "perdure.test-asked")
    table.register("known")(lambda: "known")
    monkeypatch.setitem(sys.modules, "test_plugins_table", type("Holder", (), {"TABLE": table}))
    install(beside, "plugin_asked", [("perdure.test-asked", "it")], it=OWN.format(name="other"))
    assert table.get("known") == "known"
    assert "plugin_asked.it" not in sys.modules
    assert table.get("other") == "made"
    assert list(table) == ["known", "other"]
    with pytest.raises(PerdureError, match="unknown thing 'othr': did you mean other"):
        table.get("othr")


def test_a_name_that_is_taken_stays_what_it_was_and_the_plugin_is_named(beside, monkeypatch):
    table = Registry("thing", "perdure.test-taken")
    table.register("known")(lambda: "known")
    monkeypatch.setitem(sys.modules, "test_plugins_table", type("Holder", (), {"TABLE": table}))
    entries = [("perdure.test-taken", "it")]
    install(beside, "plugin_taken", entries, it=OWN.format(name="known"))
    with pytest.warns(RuntimeWarning, match="plugin_taken.it .* 'known' is registered already"):
        assert list(table) == ["known"]
    assert table.get("known") == "known"
