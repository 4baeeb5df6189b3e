"""Fronts and hypervolumes: by hand, against counting and inclusion-exclusion, and of results."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Results
from perdure.analysis.metrics.front import hypervolume, pareto
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def by_inclusion_exclusion(points: np.ndarray) -> float:
    """Volume of the union of the boxes from 0 to each point."""
    total = 0.0
    for count in range(1, len(points) + 1):
        for some in combinations(points, count):
            total += (-1) ** (count + 1) * np.min(some, axis=0).prod()
    return total


@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_volumes_are_those_of_inclusion_and_exclusion(tasks: int, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(size=(7, tasks)).round(1 if seed % 2 else 9)
    assert hypervolume(points, np.zeros(tasks)) == pytest.approx(by_inclusion_exclusion(points))


@pytest.mark.parametrize("tasks", [2, 3])
def test_volumes_are_those_that_are_counted(tasks: int) -> None:
    rng = np.random.default_rng(tasks)
    points, grid = rng.uniform(size=(12, tasks)), rng.uniform(size=(100_000, tasks))
    below = np.any(np.all(grid[:, None] <= points, axis=-1), axis=1).mean()
    assert hypervolume(points, np.zeros(tasks)) == pytest.approx(below, abs=0.006)


def test_properties_of_volumes() -> None:
    points = np.random.default_rng(5).uniform(size=(9, 3))
    whole = hypervolume(points, np.zeros(3))
    assert hypervolume(points[::-1, [2, 0, 1]], np.zeros(3)) == pytest.approx(whole)
    assert hypervolume(points[pareto(points)], np.zeros(3)) == pytest.approx(whole)
    assert hypervolume([*points, [0.9, 0.9, 0.9]], np.zeros(3)) > whole
    assert hypervolume(points + 3, np.full(3, 3.0)) == pytest.approx(whole)
    assert hypervolume(points, np.full(3, 2.0)) == 0


def results(higher: Any = True) -> Results:
    """Three strategies on three tasks; the second seed of c diverged."""
    scores = {
        "a": [[[0.9, 0.2, 0.5]], [[0.9, 0.2, 0.5]]],
        "b": [[[0.5, 0.6, 0.5]], [[0.5, 0.6, 0.5]]],
        "c": [[[0.4, 0.6, 0.5]], [[np.nan, 0.9, 0.5]]],
    }
    return Results(
        {name: np.array(values) for name, values in scores.items()}, config={"higher_is_better": higher}
    )


def test_the_front_of_results_by_hand() -> None:
    table = results().front((0, 1))
    assert list(table.columns) == ["strategy", "0 task 1", "1 task 2", "front", "share"]
    assert table["front"].tolist() == [True, True, False]
    assert table["share"].tolist() == [1, 1, 0]
    assert table["0 task 1"].tolist() == pytest.approx([0.9, 0.5, 0.4])
    lower = results(higher=False).front((0, 1))
    assert lower["front"].tolist() == [True, False, True]
    assert results([True, False, True]).front((0, 1))["front"].tolist() == [True, False, False]


def test_the_volume_of_results_by_hand() -> None:
    assert results().hypervolume(0.0, (0, 1)) == pytest.approx([0.9 * 0.2 + 0.5 * 0.4] * 2)
    assert results().hypervolume([0.1, 0.2], (0, 1), ["b"]) == pytest.approx([0.4 * 0.4] * 2)
    assert results(higher=False).hypervolume(1.0, (0, 1), ["a", "b"]) == pytest.approx(
        [0.1 * 0.8 + 0.4 * 0.4] * 2
    )
    assert np.isnan(results().hypervolume(0.0, (0, 1), ["c"])).tolist() == [False, True]


def test_the_reference_is_chance_by_default(build: Build) -> None:
    found = build(tasks=3)
    floor = found.untrained["naive"].mean(axis=0)
    assert found.hypervolume().tolist() == found.hypervolume(floor.tolist()).tolist()
    found.config["metric"] = "R2"
    assert found.hypervolume().tolist() == found.hypervolume(0.0).tolist()


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda r: r.front((0, 3)), r"different numbers in \[0, 3\); found \(0, 3\)"),
        (lambda r: r.front(()), "different numbers"),
        (lambda r: r.hypervolume(), "expected the scores of an untrained model as chance"),
        (lambda r: r.hypervolume([0.0], (0, 1)), "one for each of the 2 tasks"),
        (lambda r: r.hypervolume(0.0, None, ["z"]), "unknown strategy 'z'"),
        (lambda r: r.plot_front((0, 1, 2)), "tasks must be two different numbers"),
        (lambda r: hypervolume([[1.0, np.nan]], [0.0, 0.0]), "finite points"),
        (lambda r: hypervolume([[1.0]], [0.0, 0.0]), "a reference"),
        (lambda r: pareto([1.0]), r"points \[n, tasks\]; found \[1\]"),
    ],
)
def test_what_makes_no_front_is_refused(ask: Callable[[Results], Any], says: str) -> None:
    with pytest.raises(PerdureError, match=says) as caught:
        ask(results())
    assert "\n" not in str(caught.value)


def test_too_many_tasks_are_refused(build: Build) -> None:
    with pytest.raises(PerdureError, match=r"at most 6 tasks, .* found 7: name some"):
        build(tasks=7).hypervolume()


@pytest.mark.parametrize("higher", [True, False])
def test_the_figure_draws_points_and_front(higher: bool) -> None:
    axes: Any = results(higher).plot_front((0, 1)).axes[0]
    points = {
        line.get_label().strip(): line.get_xydata()[0].tolist()
        for line in axes.get_lines()
        if line.get_marker() != "None"
    }
    assert points["a"] == pytest.approx([0.9, 0.2])
    assert points["c"] == pytest.approx([0.4, 0.6])
    (front,) = (line for line in axes.get_lines() if line.get_color() == "0.6")
    corners = front.get_xydata()[1:-1].round(6).tolist()
    assert corners == (
        [[0.5, 0.6], [0.5, 0.2], [0.9, 0.2]] if higher else [[0.9, 0.2], [0.9, 0.6], [0.4, 0.6]]
    )
