"""What is written about the code is true of it: generated pages, README's code, links, house rules."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def read(path):
    return path.read_text(encoding="utf-8")


def blocks(path, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", read(path), re.DOTALL)


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_api_reference_is_current(generate):
    assert generate.api() == read(ROOT / "docs" / "api.md"), "docs/api.md is stale: run `make docs`"


def test_the_readme_tables_are_current(generate):
    page = read(ROOT / "README.md")
    assert set(re.findall(r"<!-- table: (\w+) -->", page)) == set(generate.tables())
    assert generate.readme(page) == page, "README.md is stale: run `make docs`"


def test_the_readme_names_what_is_registered():
    from perdure.analysis import METRICS
    from perdure.models import MODELS
    from perdure.scenarios import SOURCES
    from perdure.scenarios.operators import OPERATORS
    from perdure.scenarios.registry import GENERATORS
    from perdure.strategies import STRATEGIES

    page = read(ROOT / "README.md")
    for kind, known in (
        ("strategies", STRATEGIES), ("generators", GENERATORS), ("sources", SOURCES),
        ("operators", OPERATORS), ("models", MODELS), ("metrics", METRICS),
    ):  # fmt: skip
        table = re.search(rf"<!-- table: {kind} -->(.*?)<!-- end -->", page, re.DOTALL)[1]
        assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == set(known), kind


@pytest.mark.slow
@pytest.mark.parametrize("index", range(3))
def test_the_readme_code_runs(index, tmp_path, monkeypatch, table):
    monkeypatch.chdir(tmp_path)
    exec(
        compile(blocks(ROOT / "README.md")[index], f"README.md, block {index}", "exec"),
        {"__name__": "readme"},
    )


def test_the_readme_code_is_all_tested_and_short():
    code = blocks(ROOT / "README.md")
    assert len(code) == 3
    stream, strategy = ([line for line in block.splitlines() if line.strip()] for block in code[:2])
    start, end = strategy.index('@strategy("slow")'), strategy.index("check_strategy(Slow())")
    assert len(stream) <= 10
    assert end - start <= 10


def test_the_readme_answers_what_newcomers_ask():
    page = read(ROOT / "README.md")
    table = re.search(r"## How do I \.\.\.\n(.*?)\n## ", page, re.DOTALL)[1]
    for asked in (
        "GPU", "Dataset", "DataFrame", "clip", "tune", "strength", "confusion", "save", "load", "combine",
        "cite",
    ):  # fmt: skip
        assert asked in table, asked
    for word in ("setting*", "a stage", "a replica is", "phase (a stretch"):
        assert word in page, word


def test_the_first_screen():
    first = read(ROOT / "README.md").splitlines()[:20]
    commands = [line for line in first if line.startswith("make ")]
    assert [line.split("  ")[0] for line in commands] == ["make demo", "make test"]
    figure = ROOT / "docs" / "forgetting.png"
    assert any("docs/forgetting.png" in line for line in first)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert figure.stat().st_size < 200_000


def test_the_command_line_in_the_readme_is_understood(monkeypatch, tmp_path):
    """Every `perdure ...` line of the README parses; the work itself is left out."""
    import shlex

    from typer.testing import CliRunner

    from perdure.cli import app as cli

    called = []
    monkeypatch.setattr(cli, "carry_out", lambda arguments, *more, **others: called.append(arguments))
    monkeypatch.chdir(ROOT)
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("perdure ")]
    assert len(commands) >= 5
    for command in commands:
        if command[0] != "report":
            done = CliRunner().invoke(cli.app, command)
            assert done.exit_code == 0, (command, done.output)
    from perdure.scenarios import get as get_stream
    from perdure.strategies import get as get_strategy

    assert called
    for arguments in called:
        assert len(get_stream(arguments["stream"])) > 1
        assert all(get_strategy(name) for name in arguments["strategies"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        place, _, heading = target.partition("#")
        if place and "://" not in place:
            assert (page.parent / place).exists(), target
        elif heading:
            titles = [
                t.replace(".", "").replace(" ", "-").lower() for t in re.findall(r"(?m)^#+ (.+)$", text)
            ]
            assert heading in titles, target


def test_no_path_of_a_machine_in_the_text():
    files = [
        *PAGES,
        *(ROOT / "examples").iterdir(),
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        ROOT / "constraints.txt",
    ]
    for path in files:
        if path.is_file():
            assert not re.search(r"/(home|root|Users|work)/", read(path)), path


def test_the_makefile_has_the_commands():
    targets = ("demo", "test", "lint", "docs", "bench", "clean")
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("perdure compare split-digits", "pytest", "ruff check", "mypy", "generate.py", "rm -rf"):
        assert words in done.stdout
