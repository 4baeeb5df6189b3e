"""Where strategies stand between anchors: by hand, as gap closed, and refused where anchors are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Results
from perdure.analysis.report.tables import between
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def flat(config: dict[str, Any] | None = None, **levels: float) -> Results:
    """Two seeds and two tasks on which each strategy has one score; an untrained model has 0.1."""
    scores = {name: np.full((2, 1, 2), level) for name, level in levels.items()}
    untrained = {name: np.full((2, 2), 0.1) for name in levels}
    return Results(scores, untrained, config={"kinds": {n: n for n in levels}, **(config or {})})


def test_positions_by_hand() -> None:
    table = flat(naive=0.3, mmoe=0.5, joint=0.7, single=0.9).between_anchors()
    assert list(table.columns) == ["from", "to", "strategy", "anchor", "mean", "low", "high", "seeds"]
    found = table[table["strategy"] == "mmoe"].set_index(["from", "to"])["mean"]
    assert found["chance", "joint"] == pytest.approx(0.4 / 0.6)
    assert found["chance", "single"] == pytest.approx(0.5)
    assert found["naive", "joint"] == pytest.approx(0.5)
    assert found["naive", "single"] == pytest.approx(1 / 3)
    own = table[table["anchor"] != ""]
    assert own["mean"].tolist() == pytest.approx(
        [float(a == t) for a, t in zip(own["anchor"], own["to"], strict=True)]
    )


def test_naive_to_joint_is_gap_closed(results: Results) -> None:
    table = results.between_anchors("naive", "joint").set_index("strategy")
    expected = results.table(["gap_closed"]).set_index("strategy")
    for name in results.strategies:
        for number in ("mean", "low", "high"):
            assert table[number][name] == pytest.approx(expected[number][name])


def test_lower_scores_can_be_the_better_ones() -> None:
    table = flat(
        {"higher_is_better": False, "metric": "RMSE"}, naive=0.09, mmoe=0.05, single=0.01
    ).between_anchors()
    found = table[table["strategy"] == "mmoe"].set_index(["from", "to"])["mean"]
    assert found["naive", "single"] == pytest.approx(0.5)
    assert found["chance", "single"] == pytest.approx(0.05 / 0.09)


def test_chance_is_a_constant_where_that_is_known() -> None:
    table = flat({"metric": "R2"}, mmoe=0.4, single=0.8).between_anchors()
    assert table["mean"].tolist() == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ((), "expected a single baseline; found only naive, mmoe: add 'single'"),
        (("naive", "joint"), "expected a joint baseline"),
        (("chanse",), "unknown anchor 'chanse': did you mean chance"),
        (("joint",), "unknown anchor 'joint'"),
    ],
)
def test_missing_anchors_are_refused(ask: tuple[Any, ...], says: str) -> None:
    with pytest.raises(PerdureError, match=says) as caught:
        flat(naive=0.3, mmoe=0.5).between_anchors(*ask)
    assert "\n" not in str(caught.value)


def test_anchors_that_coincide_are_refused() -> None:
    results = flat(naive=0.5, mmoe=0.5, joint=0.5)
    with pytest.raises(PerdureError, match=r"joint clearly above naive .* train joint longer"):
        results.between_anchors("naive", "joint")
    assert set(results.between_anchors()["from"]) == {"chance"}


def test_without_untrained_scores_chance_is_refused() -> None:
    results = flat(mmoe=0.5, single=0.8)
    results.untrained = {}
    with pytest.raises(PerdureError, match="expected the scores of an untrained model as chance"):
        results.between_anchors("chance", "single")


def test_the_report_has_them(build: Build) -> None:
    table = between(build())
    assert table is not None
    assert table.title == "Between the anchors"
    assert table.columns[2] == "naive = 0, joint = 1"
    assert [name for name, _ in table.rows] == ["naive", "ewc", "joint", "single"]
    assert table.rows[0][1][2].text == "0.000 [0.000, 0.000]"
    assert between(build(("naive", "ewc"))) is None
    assert between(build(("naive", "joint"))) is None  # nothing stands between
