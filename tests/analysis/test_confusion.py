"""Confusion matrices: checks, accuracy of each class, figure, report, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from perdure.analysis import Results, load, per_class_accuracy
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def with_counts(results: Results, classes: int = 8) -> Results:
    rng = np.random.default_rng(0)
    counts = {
        name: rng.integers(1, 50, (*results.scores[name].shape[:2], classes, classes))
        for name in ("naive", "joint")
    }
    kept = {field.name: getattr(results, field.name) for field in fields(results)}
    return Results(**{**kept, "confusions": counts})


def test_accuracy_of_each_class_by_hand() -> None:
    counts = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    assert per_class_accuracy(counts)[:2].tolist() == [0.75, 0.5]
    assert np.isnan(per_class_accuracy(counts)[2])  # no samples of that class


def test_per_class_accuracy(results: Results) -> None:
    measured = with_counts(results)
    counts = measured.confusions["naive"]
    found = measured.per_class_accuracy("naive")
    assert found.shape == (6, 4, 8)
    assert found[2, 1, 3] == counts[2, 1, 3, 3] / counts[2, 1, 3].sum()
    # Weighed by the samples of each class it is the share of all right answers.
    share = (found * counts.sum(-1)).sum(-1) / counts.sum((-2, -1))
    assert share == pytest.approx(np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1)))
    measured.extras["naive"]["diverged"] = [2]
    assert np.isnan(measured.per_class_accuracy("naive")[2]).all()
    with pytest.raises(PerdureError, match="confusion matrices of 'ewc'; found none"):
        measured.per_class_accuracy("ewc")
    with pytest.raises(PerdureError, match="unknown strategy 'nave'"):
        measured.per_class_accuracy("nave")


def test_figure(results: Results, tmp_path: Path) -> None:
    measured = with_counts(results)
    panel, bar = measured.plot_confusion("naive", path=tmp_path / "a.svg").axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("answer", "label")
    counts = measured.confusions["naive"][:, -1]
    shares = (counts / counts.sum(-1, keepdims=True)).mean(0)
    assert np.asarray(panel.collections[0].get_array()) == pytest.approx(shares)
    assert bar.get_ylabel() == "share of the label"
    first = measured.plot_confusion("naive", np.int64(0)).axes[0].collections[0].get_array()
    assert not np.allclose(np.asarray(first), shares)
    for stage in (4, -5, 1.0, True):
        with pytest.raises(PerdureError, match="stage must be a whole number from -4 to 3"):
            measured.plot_confusion("naive", stage)
    with pytest.raises(PerdureError, match="ends in"):
        measured.plot_confusion("naive", path=tmp_path / "a.gif")
    with pytest.raises(PerdureError, match="found none"):
        measured.plot_confusion("ewc")


@pytest.mark.parametrize("classes", [1, 15, 30])
def test_figure_of_any_number_of_classes(results: Results, classes: int) -> None:
    measured = with_counts(results, classes)
    measured.config["class_names"] = [f"kind {index}" for index in range(classes)]
    panel = measured.plot_confusion("joint").axes[0]
    assert panel.get_yticklabels()[0].get_text() == "kind 0"


def test_report_shows_them(build: Build) -> None:
    from perdure.analysis.report.page import render

    page = render(with_counts(build(("naive", "joint"), tasks=1, seeds=2, curves=False), 3))
    assert "Confusion matrices" in page
    assert "Accuracy of each class" in page


def test_they_are_saved_and_loaded(results: Results, tmp_path: Path) -> None:
    measured = with_counts(results)
    measured.save(tmp_path / "run")
    again = load(tmp_path / "run").confusions
    assert again.keys() == measured.confusions.keys()
    assert all(np.array_equal(again[name], measured.confusions[name]) for name in again)


@pytest.mark.parametrize(
    ("confusions", "message"),
    [
        ({"a": np.zeros((2, 3, 4, 5))}, r"\[2 seeds, 3 stages, classes, classes\]; found \[2, 3, 4, 5\]"),
        ({"a": np.zeros((2, 1, 4, 4))}, "3 stages"),
        ({"a": np.zeros((2, 3))}, "found"),
        ({"a": np.full((2, 3, 4, 4), -1)}, "counts, 0 or more"),
        ({"a": np.full((2, 3, 4, 4), np.nan)}, "counts, 0 or more"),
        ({"b": np.zeros((2, 3, 4, 4))}, "unknown strategy 'b'"),
    ],
)
def test_what_does_not_fit_is_refused(confusions: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(PerdureError, match=message):
        Results({"a": np.zeros((2, 3, 3))}, confusions=confusions)
