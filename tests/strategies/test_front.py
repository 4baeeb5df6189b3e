"""Fronts by hand, and hypervolumes against counting and against another library."""

from importlib.util import find_spec

import pytest
import torch

from perdure import PerdureError
from perdure.strategies import Front, hypervolume, pareto


def cloud(n, tasks, seed=0):
    return torch.rand(n, tasks, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_front_by_hand():
    points = torch.tensor([[1.0, 3.0], [2.0, 2.0], [2.0, 1.0], [3.0, 1.0], [3.0, 1.0], [0.0, 0.0]])
    assert pareto(points).tolist() == [True, True, False, True, True, False]


def test_the_volume_by_hand():
    points = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0]])
    assert hypervolume(points, [0.0, 0.0]) == pytest.approx(6.0)
    assert hypervolume(points, [1.0, 1.0]) == pytest.approx(1.0)
    assert hypervolume(points, [9.0, 0.0]) == 0.0
    with pytest.raises(PerdureError, match="a reference"):
        hypervolume(points, [0.0])


@pytest.mark.parametrize("tasks", [3, 5])
def test_the_volume_is_that_of_the_union_of_boxes(tasks):
    points, grid = cloud(6, tasks), cloud(200_000, tasks, seed=1)
    below = (grid.unsqueeze(1) <= points).all(-1).any(1).double().mean().item()
    assert hypervolume(points, [0.0] * tasks) == pytest.approx(below, abs=0.005)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 7, 20])
def test_the_volume_is_moocores(n, tasks):
    if find_spec("moocore") is None:
        pytest.skip("moocore is not installed")
    import moocore

    points, floor = cloud(n, tasks, seed=n), torch.linspace(-0.2, 0.4, tasks, dtype=torch.float64)
    points[-1] = points[0]  # equal points count once
    # It takes what lies below a reference, and two tasks at least: negated, with a task of height 1.
    padded = torch.cat([points, torch.ones(n, 1)], 1).neg().numpy()
    theirs = moocore.hypervolume(padded, ref=[*(-floor).tolist(), 0.0])
    assert hypervolume(points, floor) == pytest.approx(theirs, rel=1e-9)
    assert pareto(points).tolist() == moocore.is_nondominated(padded, keep_weakly=True).tolist()


def test_what_a_front_says_by_hand():
    preferences = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    scores = torch.tensor([[[0.9, 0.5], [0.7, 0.7]], [[0.6, 0.6], [0.6, 0.8]], [[0.5, 0.7], [0.5, 0.6]]])
    front = Front(preferences, scores)
    torch.testing.assert_close(front.points.float(), torch.tensor([[0.8, 0.6], [0.6, 0.7], [0.5, 0.65]]))
    assert front.weighted.tolist() == pytest.approx([0.8, 0.675, 0.65])
    assert front.peak.tolist() == pytest.approx([0.9, 0.8])
    assert front.efficient.tolist() == [True, True, False]
    assert front.volume(0.5) == front.volume([0.5, 0.5]) == pytest.approx(0.3 * 0.1 + 0.1 * 0.1)


@pytest.mark.parametrize("shape", [(2, 2), (2, 1, 3), (3, 1, 2), (2, 1, 2, 1)])
def test_scores_that_do_not_belong_to_the_preferences_are_refused(shape):
    with pytest.raises(PerdureError, match=r"scores \[n, models, tasks\]"):
        Front(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.ones(shape))
