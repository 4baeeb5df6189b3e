"""What results look like at a glance: repr, HTML, the main table, LaTeX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from perdure.analysis import Curve, Results
from perdure.analysis.describe import listed
from perdure.analysis.report.page import render
from perdure.analysis.summary import escape
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def test_repr_is_five_lines(results: Results) -> None:
    assert repr(results).splitlines() == [
        "Results of split-digits (class setting)",
        "  strategies (4): naive, ewc, joint, single",
        "  seeds (6): 0, 1, 2, 3, 4, 5",
        "  tasks (4): digits 0/1, digits 2/3, digits 4/5, digits 6/7",
        "  average accuracy: naive 0.424, ewc 0.484, joint 0.898, single 0.895",
    ]


def test_repr_of_many_and_of_diverged(build: Build) -> None:
    many = build(tuple(f"replay(capacity={i})" for i in range(40)), tasks=30, seeds=2)
    assert len(repr(many).splitlines()) == 5
    assert max(map(len, repr(many).splitlines())) < 150
    lost = Results({"a": np.full((2, 3, 3), np.nan)})
    assert repr(lost).splitlines()[0] == "Results of a stream without a name"
    assert repr(lost).endswith("a (2 of 2 diverged)")


def test_a_name_is_never_cut() -> None:
    assert listed(["x" * 200, "y"]) == "x" * 200 + " and 1 more"
    assert listed(["a", "b"]) == "a, b"


def test_repr_of_a_curve(results: Results) -> None:
    assert repr(results.curves["ewc"]) == "Curve: replicas 6, evaluations 16, steps 5 to 80, tasks 4"
    assert (
        repr(Curve(np.zeros(0, int), np.zeros(0, int), np.zeros((1, 0, 2))))
        == "Curve: replicas 1, evaluations 0, tasks 2"
    )


def test_html_is_escaped(build: Build) -> None:
    page = build(("naive", "<b>&"), stream="<i>")._repr_html_()
    assert "&lt;b&gt;&amp;" in page
    assert "&lt;i&gt;" in page
    assert "<b>" not in page


def test_summary(results: Results) -> None:
    table = results.summary()
    assert list(table.columns) == ["average accuracy", "forgetting", "learning accuracy"]
    assert list(table.index) == results.strategies
    row = results.table(["forgetting"]).set_index("strategy").loc["ewc"]
    assert table.loc["ewc", "forgetting"] == f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    assert table.loc["joint", "forgetting"] == "-"
    assert list(results.summary(["backward_transfer"]).columns) == ["backward transfer"]
    with pytest.raises(PerdureError, match="unknown metric"):
        results.summary(["acuracy"])


def test_scores_are_called_what_they_are(results: Results) -> None:
    results.config["metric"] = "return"
    assert list(results.summary().columns) == ["average return", "forgetting", "learning return"]
    assert "average return: naive" in repr(results)
    assert r"Average return $\uparrow$" in results.to_latex()
    page = render(results)
    assert "Average return" in page
    assert "ccuracy" not in page


def test_summary_says_what_tune_chose(build: Build) -> None:
    results = build()
    results.extras["ewc"] = {"chosen": {"lr": 0.1, "ewc.strength": 100.0}}
    assert results.summary()["chosen by tune"].tolist() == ["-", "lr=0.1, ewc.strength=100", "-", "-"]


def test_summary_prints_whole(build: Build) -> None:
    names = tuple(f"replay(capacity={10**20}) + a-long-name(strength={i})" for i in range(70))
    with pd.option_context("display.width", 80, "display.max_columns", 2, "display.max_colwidth", 10):
        table = build(names, seeds=2, curves=False).summary()
        for text in (str(table), table._repr_html_(), str(table.iloc[:, :2])):
            assert all(name in text for name in names)
            assert "..." not in text


def test_pairwise_compares_all_pairs(results: Results) -> None:
    assert results.pairwise("forgetting").equals(results.compare("forgetting", against="all"))
    assert len(results.pairwise()) == 6


def test_latex(build: Build) -> None:
    text = build(("[a]_1 & 50 %", "ewc"), seeds=2).to_latex()
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrrr}"
    assert lines[2] == (
        r"strategy & Average accuracy $\uparrow$ & Forgetting $\downarrow$ & Learning accuracy $\uparrow$ \\"
    )
    assert lines[4].startswith(r"{}[a]\_1 \& 50 \% & 0.")
    assert [lines[1], lines[3], lines[-2], lines[-1]] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "& $-$0." in build(("naive",)).to_latex(["backward_transfer"])
    assert escape("\\^~{}") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}\{\}"
