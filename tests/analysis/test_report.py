"""The report: everything in one file, escaped, and the numbers of the tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from perdure.analysis import METRICS, Results, bootstrap_interval, notes
from perdure.analysis.plots import heat
from perdure.analysis.report import pairs as report_pairs
from perdure.analysis.report.page import render
from perdure.analysis.report.tables import GROUPS, summaries
from perdure.core.errors import PerdureError

Build = Callable[..., Results]
LINKS = {"src", "href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """Collect links, tags, text and what is bold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.bold: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in LINKS]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "strong":
            self.bold.append(data)


@pytest.fixture(scope="module")
def whole(build: Build, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run with everything, from its file."""
    place = tmp_path_factory.mktemp("whole") / "deep" / "report.html"
    build().report(place)
    return place.read_text(encoding="utf-8")


def test_captions_speak_of_lines_that_are_there(build: Build) -> None:
    for names, drawn in ((("naive", "ewc"), False), (("naive", "joint"), True)):
        assert ("Level dashed lines" in render(build(names))) == drawn


def test_report_is_one_self_contained_well_formed_page(whole: str) -> None:
    text, page = whole, Page(whole)
    assert page.open == []
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.text.count("digits 0/1") >= 2  # text in the figures is text
    assert not {"script", "link", "iframe", "object"} & page.tags
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_report_shows_numbers_notes_costs_and_configuration(build: Build) -> None:
    page = Page(render(build(("naive", "ewc"), seeds=3, curves=False)))
    row = build(("naive", "ewc"), seeds=3, curves=False).table(metrics=["forgetting"]).iloc[1]
    assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in page.bold
    for part in (
        "split-digits",
        "class-incremental",
        "3 seeds: intervals over fewer than 5",
        "No joint baseline",
        "near chance in class-incremental learning is expected",
        "4,810",
        "3.2e+11",
        "0123456789abcdef",
        "naive: path",
        "naive − ewc",
        METRICS["forgetting"].formula,
    ):
        assert part in page.text, part


def test_only_learners_of_task_after_task_compete_for_bold(results: Results) -> None:
    table = results.table()
    summary = next(iter(summaries(results, table)))
    bold = {name for name, cells in summary.rows if cells[0].best}
    assert bold == {"ewc"}  # joint and single score higher, and are bounds


def test_a_cumulative_learner_is_a_bound(build: Build) -> None:
    results = build(("naive", "ewc", "cumulative"))
    summary = next(iter(summaries(results, results.table())))
    assert [name for name, cells in summary.rows if cells[0].best] == ["ewc"]


def test_the_run_may_name_bounds(build: Build) -> None:
    results = build(("naive", "ewc", "mine"), bounds=["mine"])
    summary = next(iter(summaries(results, results.table())))
    assert [name for name, cells in summary.rows if cells[0].best] == ["ewc"]


def test_the_best_of_many_tasks_at_once_is_bold_beside_the_best_learner_of_a_stream(build: Build) -> None:
    results = build(("naive", "ewc", "better", "worse", "joint"))
    for place, name in enumerate(("better", "worse")):
        results.scores[name] = results.scores["joint"] - 0.1 * (1 + place)
    summary = next(iter(summaries(results, results.table())))
    assert [name for name, cells in summary.rows if cells[0].best] == ["ewc", "better"]
    line = "better, worse learned from several tasks at once, which naive, ewc could not: bold is what is "
    assert any(text.startswith(line) for text in notes(results))
    assert not any("at once" in text for text in notes(build(("naive", "ewc", "joint"))))


def test_bold_is_among_those_that_did_not_diverge(build: Build) -> None:
    results = build(("naive", "ewc", "si"))
    results.scores["si"][:] = np.nan
    summary = next(iter(summaries(results, results.table())))
    assert [name for name, cells in summary.rows if cells[0].best] == ["ewc"]
    results.scores["naive"][:] = np.nan  # nothing is left to be better than
    summary = next(iter(summaries(results, results.table())))
    assert not any(cell.best for _, cells in summary.rows for cell in cells)


def test_pairs_are_over_common_seeds(build: Build) -> None:
    results = build(("naive", "ewc"), seeds=3)
    results.scores["ewc"][1:] = np.nan
    accuracy, _ = report_pairs.compared(results).tables
    ((_, cells),) = accuracy.rows
    gap = results.metric("average_accuracy", "naive")[0] - results.metric("average_accuracy", "ewc")[0]
    assert [cell.text for cell in cells] == [f"{gap:.3f}*", "–", "–", "0.00"]


def test_what_is_level_is_not_bold(build: Build) -> None:
    results = build(("naive", "ewc", "si"))
    results.scores["si"] = results.scores["ewc"] + 1e-4
    assert not any(
        cell.best for t in summaries(results, results.table()) for _, cells in t.rows for cell in cells
    )
    one = build(("naive", "ewc"), seeds=1)  # without intervals nothing is clear
    assert not any(cell.best for t in summaries(one, one.table()) for _, cells in t.rows for cell in cells)


def test_lower_is_better_is_respected(results: Results) -> None:
    kept = next(
        t for t in summaries(results, results.table()) if t.columns[0] == "Forgetting\N{NO-BREAK SPACE}↓"
    )
    assert {name: cells[0].best for name, cells in kept.rows} == {"naive": False, "ewc": True}


@pytest.fixture(scope="module")
def awkward(build: Build) -> str:
    """The page of a run with names that are no plain text elsewhere."""
    names = ("<script>alert(1)</script>", "<b>$x^{$ & _y", "_hidden")
    return render(build(names, tasks=2, seeds=2, curves=False, stream="a & <b>", metric="a <i>"))


def test_names_are_escaped(awkward: str) -> None:
    assert "<script>" not in awkward
    assert "a &amp; &lt;b&gt;" in awkward


def test_one_seed_one_task_one_strategy(build: Build) -> None:
    page = Page(render(build(("naive",), tasks=1, seeds=1, curves=False)))
    assert "1 task" in page.text
    assert "1 strategy" in page.text
    assert "nan" not in page.text
    assert "Paired comparisons" not in page.text


def test_equal_results_give_equal_pages(build: Build) -> None:
    pages = [render(build(("naive", "joint"), seeds=2, tasks=2)) for _ in range(2)]
    assert pages[0] == pages[1]


def test_every_metric_has_a_place_in_the_report() -> None:
    placed = [name for group in GROUPS.values() for name in group]
    assert sorted(placed) == sorted(METRICS)


def test_a_path_that_cannot_be_written_is_refused(build: Build, tmp_path: Path) -> None:
    with pytest.raises(PerdureError, match="expected a file that can be written"):
        build(("naive",), tasks=1, seeds=1, curves=False).report(tmp_path)


@pytest.fixture(scope="module")
def twelve(build: Build) -> tuple[Results, str]:
    """The results of twelve strategies, and their page."""
    results = build(tuple(f"method {i}" for i in range(12)), seeds=6, tasks=2, curves=False)
    return results, render(results)


def test_twelve_strategies_have_a_matrix_of_wins(build: Build, twelve: tuple[Results, str]) -> None:
    results, text = twelve
    (accuracy, lost), note = report_pairs.compared(results)
    assert len(accuracy.rows) == len(lost.rows) == 12
    values = [results.metric("average_accuracy", name) for name in results.strategies]
    for (_, cells), row in zip(accuracy.rows, values, strict=True):
        for cell, column in zip(cells, values, strict=False):
            low, high = bootstrap_interval(row - column)
            expected = "better" if low > 0 else "worse" if high < 0 else "level"
            assert cell.mark == ("" if row is column else expected)
            assert cell.text == ("" if row is column else f"{(row - column).mean():+.2f}".replace("-", "−"))
    assert note == results.compare(against="all").attrs["note"]
    assert text.count("no difference can be significant after Holm") == 2  # all, against naive
    assert report_pairs.compared(build(("naive", "ewc"))).note is None
    assert lost.rows[0][1][11].mark == "worse"  # more forgetting is worse


def test_figures_come_first_and_a_contents_list_leads_to_everything(twelve: tuple[Results, str]) -> None:
    _, text = twelve
    assert text.index('href="#results"') < text.index("<svg") < text.index("<table")
    places = re.findall(r'href="#([^"]*)"', text[text.index("<nav") : text.index("</nav>")])
    assert text.count("<tr>") < 130  # 66 pairs had two rows each
    assert {"figures", "results", "pairs", "costs", "configuration", "definitions"} <= set(places)
    assert all(f'id="{place}"' in text for place in places)


def test_figures_take_the_colours_of_the_page(whole: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in whole
    drawings = whole[whole.index("<svg") : whole.rindex("</svg>")]
    assert "var(--ink)" in drawings
    for colour in ("#262626", "#000000; ", "fill: #ffffff; stroke"):
        assert colour not in drawings
    widths = [float(width) for width in re.findall(r'<svg [^>]*width="([\d.]+)pt"', drawings)]
    assert max(widths) < 360  # points: nothing needs more than a phone shows


def test_names_are_plain_text_in_the_page(awkward: str) -> None:
    assert "<b>" not in awkward
    assert "&lt;b&gt;$x^{$ &amp; _y" in awkward
    assert "<span>_hidden</span>" in awkward  # in the legend
    assert "a &lt;i&gt;" in awkward


def test_diverged_replicas_are_marked_and_left_out_of_the_tables(build: Build) -> None:
    results = build(("naive", "ewc", "si"), tasks=2, curves=False)
    results.extras["naive"]["diverged"] = [1]
    results.scores["naive"][1] = 0.1
    results.scores["ewc"][2, 1, 0] = np.nan
    results.scores["si"][:] = np.inf
    page = Page(render(results))
    for part in ("naive (1 of 6 diverged)", "ewc (1 of 6 diverged)", "si (6 of 6 diverged)"):
        assert page.text.count(part) >= 3, part
    assert page.text.count("are left out of every mean") == 1
    assert "naive: 1; ewc: 2; si: all." in page.text
    kept = np.delete(results.metric("average_accuracy", "naive"), 1)
    low, high = bootstrap_interval(kept)
    assert f"{kept.mean():.3f} [{low:.3f}, {high:.3f}]*" in page.text
    told = Results(results.scores, extras=results.extras, config=results.config)
    assert sum("diverged" in line for line in notes(told)) == 1  # where the run says so too
    told.warnings = ["Seeds that diverged, as another version puts it."]
    assert sum("diverged" in line for line in notes(told)) == 1
    shown = summaries(results, results.table())
    assert {cell.text for t in shown for name, cells in t.rows if "si" in name for cell in cells} == {
        "diverged"
    }
    assert "inf" not in re.findall(r"\w+", page.text[: page.text.index("Configuration")])


def test_the_page_of_many_tasks_is_small(build: Build) -> None:
    text = render(build(("naive", "joint"), tasks=300, seeds=2, curves=False))
    assert len(text) < 600_000
    assert text.count("<path") + text.count("<text") < 500


def test_correlations_of_tasks_are_drawn_where_the_stream_says_them(build: Build) -> None:
    names = [f"digits {2 * t}/{2 * t + 1}" for t in range(4)]
    matrix = [[1.0 if i == j else 0.4321 for j in range(5)] for i in range(5)]
    info = {"tasks": [*names, "gone"], "label_correlation": matrix, "degrees": [1, 2]}
    results = build(info=info)
    text = render(results)
    assert "Task correlations" in text
    assert "0.43" in text
    # The tasks that are left of a stream that was cut; the matrix itself is no setting.
    assert heat.correlations(results)[0].values.shape == (4, 4)
    assert "0.4321" not in text
    assert "Task correlations" not in render(build())
    wrongs: list[object] = [{"tasks": names, "label_correlation": matrix}, {"tasks": 3}, []]
    for wrong in wrongs:
        with pytest.raises(PerdureError, match="to be a table, whose correlations are square"):
            build(info=wrong)
