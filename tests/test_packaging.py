"""The built distributions hold the whole package, and the wheel works alone, away from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Files and links that are in a checkout and that a build could pick up by mistake.
COPIED = ("perdure", "tests", "examples", "docs", "benchmarks", "pyproject.toml", "README.md", "LICENSE")
LINKS = ("envs", "strategies", "scenarios", "analysis")


def run(*command, cwd, **variables):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**clean, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def package_files(root):
    """The files that belong into a wheel: the code, and what pyproject.toml calls package data."""
    package = root / "perdure"
    with (root / "pyproject.toml").open("rb") as file:
        data = tomllib.load(file)["tool"]["setuptools"]["package-data"]["perdure"]
    found = [*package.rglob("*.py"), *(path for pattern in data for path in package.glob(pattern))]
    return {path.relative_to(root).as_posix() for path in found}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout: building writes into its folder."""
    root, copy = Path(__file__).parents[1], tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, copy / name)
    for name in LINKS:
        (copy / name).symlink_to(os.readlink(root / name))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """The wheel, built from the source distribution: so that one is complete as well."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment that holds the wheel and, from here, its dependencies.

    Dependencies come through a path file. The editable install of Perdure that is beside them here does not
    come along: it consists of path files of its own, which Python reads in the environment's folder only.
    """
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home, with_pip=False)
    own = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", own, "install", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(run(own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(paths)))
    return own


def test_the_wheel_holds_the_package_and_nothing_else(wheel, checkout):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
        [metadata] = [archive.read(name).decode() for name in info if name.endswith("METADATA")]
    assert names - info == package_files(checkout)
    assert {"perdure/py.typed", "perdure/analysis/report/report.html.j2"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in info)
    for line in ("License-Expression: Apache-2.0", "Requires-Python: >=3.11", "Provides-Extra: avalanche"):
        assert line in metadata.splitlines()


def test_the_wheel_works_from_another_folder(python, tmp_path):
    place = run(python, "-c", "import perdure; print(perdure.__file__)", cwd=tmp_path).strip()
    assert Path(place).is_relative_to(python.parents[1]), f"perdure comes from {place}"
    walk = (
        "import importlib, pkgutil, perdure\n"
        "for m in pkgutil.walk_packages(perdure.__path__, 'perdure.'): importlib.import_module(m.name)\n"
    )
    run(python, "-c", walk, cwd=tmp_path)
    command = python.with_name("perdure")
    assert "split-digits" in run(command, "list", cwd=tmp_path)
    said = run(
        command, "compare", "split-digits", "naive", "joint", "--seeds", "3", "--epochs", "1", "--quiet",
        "--out", "first", cwd=tmp_path, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert "first/report.html" in said
    report = (tmp_path / "first" / "report.html").read_text(encoding="utf-8")
    assert "<html" in report
    assert "naive" in report
