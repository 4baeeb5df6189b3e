"""The figure of fronts draws the numbers it is given."""

import numpy as np
import pytest

from perdure import PerdureError
from perdure.analysis import plot_front

PREFERENCES = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])


def scores(replicas=4):
    shape = np.array([[0.6, 0.5, 0.9], [0.9, 0.5, 0.5], [0.8, 0.5, 0.8]])
    return shape + 0.01 * np.random.default_rng(0).standard_normal((replicas, 3, 3))


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines() if line.get_marker() != "None"}


def test_points_are_means_in_the_order_of_the_preference(tmp_path):
    path = tmp_path / "front.png"
    both = {"one": scores(), "two": scores() * 0.9}
    figure = plot_front(both, PREFERENCES, (0, 2), ["a", "b", "c"], path)
    plane, gain = figure.axes
    order = [1, 2, 0]
    for name, values in both.items():
        np.testing.assert_allclose(lines(plane)[name], values.mean(0)[order][:, [0, 2]])
    wanted = (both["one"] * PREFERENCES).sum(-1).mean(0)[order]
    drawn = next(line.get_xydata() for line in gain.get_lines())
    np.testing.assert_allclose(drawn, np.stack([[0.0, 0.5, 1.0], wanted], 1))
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("accuracy on a", "accuracy on c")
    assert gain.get_xlabel() == "preference for c"
    assert path.stat().st_size > 1000


def test_one_replica_has_no_intervals():
    plane, gain = plot_front({"one": scores(1)}, PREFERENCES).axes
    assert len(plane.get_lines()) == len(gain.get_lines()) == 1
    assert not gain.collections
    assert plane.get_xlabel() == "accuracy on task 1"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"scores": {}}, "at least one method"),
        ({"scores": {"one": scores()[0]}}, r"scores \[replica, 3, 3\] of 'one'; found shape \[3, 3\]"),
        ({"preferences": PREFERENCES[0]}, r"preferences \[preference, task\]; found shape \[3\]"),
        ({"preferences": PREFERENCES[:2]}, r"scores \[replica, 2, 3\]"),
        ({"tasks": (0, 3)}, r"two different numbers in \[0, 3\); found \(0, 3\)"),
        ({"tasks": (1, 1)}, "two different numbers"),
        ({"names": ["a"]}, "names must be those of all 3 tasks; found 1"),
        # Looked at before anything else, and so before any work.
        ({"path": "front.txt", "scores": {}}, "a file that ends in"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, line):
    with pytest.raises(PerdureError, match=line) as caught:
        plot_front(**{"scores": {"one": scores()}, "preferences": PREFERENCES, **change})
    assert "\n" not in str(caught.value)
