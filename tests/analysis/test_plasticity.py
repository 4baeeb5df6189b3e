"""Measures of plasticity, as results hold them: by hand, drawn, reported, and refused where not watched."""

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
NAME, JOINT = "ewc + watch-plasticity", "joint"


def watched(build: Build, tasks: int = 3, seeds: int = 2, **change: Any) -> Results:
    """One strategy whose share of dormant units grows by a tenth a task, and one that learns all at once."""
    results = build((NAME, JOINT, "naive"), tasks=tasks, seeds=seeds, curves=False)
    along = np.arange(tasks, dtype=float)
    report = {
        "dormant": [(0.1 * along).tolist(), (0.1 * along + 0.2).tolist()],
        "rank": [(10.0 - along).tolist()] * seeds,
        "weight": [(0.05 + 0.01 * along).tolist()] * seeds,
        "seen": [[1.0] * tasks] * seeds,
    }
    last = [0.0] * (tasks - 1)
    once = {"dormant": 0.5, "rank": 4.0, "weight": 0.2, "seen": 1.0}
    results.extras[NAME] = {"report": {"watch-plasticity": {**report, **change}}}
    results.extras[JOINT] = {
        "report": {"watch-plasticity": {k: [[*last, v]] * seeds for k, v in once.items()}}
    }
    return Results.of(results)


def test_the_table_by_hand(build: Build) -> None:
    table = watched(build).plasticity()
    assert list(table.columns) == [
        "strategy", "measure", "task", "task_name", "mean", "low", "high", "seeds"
    ]  # fmt: skip
    own = table[(table["strategy"] == NAME) & (table["measure"] == "dormant")]
    assert own["task"].tolist() == [0, 1, 2]
    assert own["mean"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert own["low"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert own["high"].tolist() == pytest.approx([0.2, 0.3, 0.4])
    joint = table[table["strategy"] == JOINT]
    assert joint["task"].tolist() == [2, 2, 2]
    assert dict(zip(joint["measure"], joint["mean"], strict=True)) == {
        "dormant": 0.5,
        "rank": 4,
        "weight": 0.2,
    }
    assert joint["task_name"].tolist() == ["digits 4/5"] * 3


def test_a_replica_that_diverged_is_left_out(build: Build) -> None:
    results = watched(build)
    results.extras[NAME]["diverged"] = [1]
    own = results.plasticity()
    own = own[(own["strategy"] == NAME) & (own["measure"] == "dormant")]
    assert own["seeds"].tolist() == [1, 1, 1]
    assert own["mean"].tolist() == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("tasks", [3, 25])
def test_the_figure_draws_them(build: Build, tasks: int, tmp_path: Path) -> None:
    results = watched(build, tasks)
    figure: Any = results.plot_plasticity(tmp_path / "plasticity.png")
    assert (tmp_path / "plasticity.png").stat().st_size > 10_000
    learned, dormant, rank, weight = figure.axes
    # The strategy that learns all at once has no score on a task when it was learned.
    (line,) = learned.get_lines()
    diagonal = np.diagonal(results.scores[NAME], axis1=1, axis2=2).mean(axis=0)
    np.testing.assert_allclose(line.get_ydata(), diagonal)
    own, once = dormant.get_lines()
    np.testing.assert_allclose(own.get_ydata(), 0.1 * np.arange(tasks) + 0.1)
    assert (once.get_xdata().tolist(), once.get_ydata().tolist()) == ([tasks], [0.5])
    assert rank.get_title() == "effective rank"
    assert weight.get_ylim()[0] == 0


def test_they_are_saved_and_reported(build: Build, tmp_path: Path) -> None:
    results = watched(build)
    results.save(tmp_path / "run")
    assert load(tmp_path / "run").plasticity().equals(results.plasticity())
    text = render(results)
    assert "<h3>Plasticity" in text
    assert f"{NAME}: report" not in text


@pytest.mark.parametrize("ask", ["plasticity", "plot_plasticity"])
def test_nothing_watched_is_refused(build: Build, ask: str) -> None:
    with pytest.raises(PerdureError, match=r"found only naive, ewc: run 'naive \+ watch") as caught:
        getattr(build(("naive", "ewc")), ask)()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"dormant": []}, {"rank": "no"}, {"weight": [[1.0]]}, {"seen": None}])
def test_damaged_reports_are_refused(build: Build, change: dict[str, Any]) -> None:
    with pytest.raises(PerdureError, match="what watch-plasticity reports of"):
        watched(build, **change).plasticity()
