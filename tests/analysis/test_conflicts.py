"""Conflicts between tasks, as results hold them: by hand, drawn, reported, and refused where not watched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Results, load
from perdure.analysis.report.page import render
from perdure.core.errors import PerdureError

Build = Callable[..., Results]
NAME = "mmoe + watch-conflicts"


def watched(build: Build, tasks: int = 3, seeds: int = 2, **change: Any) -> Results:
    """Ten steps in stretches of four: all pairs conflict in the first, none in the next, half in the last."""
    results = build((NAME, "single"), tasks=tasks, seeds=seeds, curves=False)
    cosines = np.full((tasks, tasks), -0.25) + 1.25 * np.eye(tasks)
    report = {
        "steps": [10] * seeds,
        "width": [4] * seeds,
        "conflicts": [[12, 0, 3, 0]] * seeds,
        "pairs": [[12, 12, 6, 0]] * seeds,
        "cosines": [cosines.tolist()] * seeds,
        "affinity": [(2 * cosines).tolist()] * seeds,
    }
    results.extras[NAME] = {"report": {"watch-conflicts": {**report, **change}}}
    return Results.of(results)


def test_shares_and_matrices_by_hand(build: Build) -> None:
    results = watched(build)
    table = results.conflicts()
    assert list(table.columns) == ["strategy", "step", "mean", "low", "high", "seeds"]
    assert table["step"].tolist() == [2, 6, 9]
    assert table["mean"].tolist() == [1, 0, 0.5]
    assert results.cosines(NAME).shape == (2, 3, 3)
    assert results.affinity(NAME)[1, 0].tolist() == [2, -0.5, -0.5]


def test_a_replica_that_diverged_is_left_out(build: Build) -> None:
    results = watched(build)
    results.extras[NAME]["diverged"] = [1]
    assert np.isnan(results.cosines(NAME)).all(axis=(1, 2)).tolist() == [False, True]
    assert results.conflicts()["seeds"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("tasks", [3, 25])
def test_the_figure_draws_them(build: Build, tasks: int) -> None:
    results = watched(build, tasks)
    panels: Any = results.plot_conflicts().axes
    line, matrix = panels[:2]
    assert line.get_lines()[0].get_ydata().tolist() == [1, 0, 0.5]
    drawn = (matrix.collections or matrix.images)[0]
    values = np.ma.filled(drawn.get_array(), np.nan).reshape(tasks, tasks)
    assert np.isnan(np.diagonal(values)).all()
    assert values[0, 1] == -0.25
    assert drawn.get_clim() == (-0.25, 0.25)


def test_they_are_saved_and_reported(build: Build, tmp_path: Path) -> None:
    results = watched(build, 2)
    results.save(tmp_path / "run")
    assert load(tmp_path / "run").conflicts().equals(results.conflicts())
    text = render(results)
    assert "<h3>Conflicts between tasks" in text
    assert f"{NAME}: report" not in text


@pytest.mark.parametrize("ask", ["conflicts", "plot_conflicts"])
def test_nothing_watched_is_refused(build: Build, ask: str) -> None:
    with pytest.raises(PerdureError, match="found only naive, mmoe: run 'weighted") as caught:
        getattr(build(("naive", "mmoe")), ask)()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ask", ["cosines", "affinity", "plot_conflicts"])
def test_a_strategy_that_was_not_watched_is_refused(build: Build, ask: str) -> None:
    results = watched(build)
    with pytest.raises(PerdureError, match=r"of 'single'; found none: run 'single \+ watch-conflicts'"):
        getattr(results, ask)("single")
    with pytest.raises(PerdureError, match="unknown strategy"):
        getattr(results, ask)("mmeo")


@pytest.mark.parametrize("change", [{"steps": []}, {"pairs": "no"}, {"cosines": [[1.0]]}, {"width": None}])
def test_damaged_reports_are_refused(build: Build, change: dict[str, Any]) -> None:
    with pytest.raises(PerdureError, match="what watch-conflicts reports of"):
        watched(build, **change).conflicts()
