import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch.func import vmap

from perdure import PerdureError, compare
from perdure.engine.engine import Engine
from perdure.strategies import GEM, Naive
from perdure.strategies.parts.nonnegative import nonnegative
from perdure.strategies.projection.gem import project
from perdure.testing import check_strategy, tiny_model, tiny_stream
from perdure.training import Training


def forgetting(scores):
    """Best earlier score minus the last, mean over the tasks but the last and over replicas."""
    return float((scores[:, :-1].max(1) - scores[:, -1])[:, :-1].mean())


def corrected(gradient, memories, margin=0.0, ridge=0.0, seen=None):
    rows = torch.as_tensor(memories, dtype=torch.float64)
    seen = torch.ones(len(rows), dtype=torch.bool) if seen is None else torch.tensor(seen)
    flat = torch.as_tensor(gradient, dtype=torch.float64)
    return project({"w": flat}, {"w": rows}, seen, margin, ridge)["w"]


@pytest.mark.parametrize(
    ("memories", "settings", "expected"),
    [
        ([[1, 0]], {}, [0, 0]),
        ([[1, 0], [0, 1]], {}, [0, 0]),
        # v = (1, 0) solves the problem; the margin lifts the second to 0.5.
        ([[1, 0], [0, 1]], {"margin": 0.5}, [0, 0.5]),
        # (1 + ridge) v = 1.
        ([[1, 0]], {"ridge": 1.0}, [-0.5, 0]),
        ([[1, 1]], {}, [-0.5, 0.5]),
        # The same task twice asks for no more than once.
        ([[1, 1], [1, 1]], {}, [-0.5, 0.5]),
        # No conflict, or none with a task seen: left alone, whatever the margin.
        ([[-1, 1]], {"margin": 0.5}, [-1, 0]),
        ([[1, 0], [0, 1]], {"seen": [False, True], "margin": 0.5}, [-1, 0]),
        ([[1, 0], [0, 0]], {"margin": 0.5}, [0, 0]),
    ],
)
def test_correction_of_minus_one_zero_by_hand(memories, settings, expected):
    assert corrected([-1, 0], memories, **settings).tolist() == pytest.approx(expected, abs=1e-12)


def awkward(kind, seed, tasks=6, size=12):
    """Gradients of six tasks: independent, dependent, of lengths far apart, more than there are weights."""
    source = np.random.default_rng(seed)
    rows = source.standard_normal((tasks, 3 if kind == "many" else size))
    if kind == "dependent":
        rows[3:] = source.uniform(0, 1, (3, 3)) @ rows[:3]
    if kind == "lengths":
        rows *= 10.0 ** source.uniform(-4, 4, (tasks, 1))
    if kind == "near":
        rows[1:] = rows[:1] + 1e-5 * rows[1:]
    return rows, source.standard_normal(rows.shape[1]) - rows.sum(0) / np.linalg.norm(rows)


KINDS = ["independent", "dependent", "lengths", "many", "near"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_correction_is_what_nonnegative_least_squares_gives(kind, margin, seed):
    rows, gradient = awkward(kind, seed)
    new = corrected(gradient, rows, margin).numpy()
    if (rows @ gradient).min() >= 0:
        np.testing.assert_array_equal(new, gradient)
        return
    start = gradient + margin * rows.sum(0)
    share, _ = nnls(rows.T, -start)
    np.testing.assert_allclose(new, start + share @ rows, atol=1e-7 * max(1, np.abs(start).max()))
    along = rows @ new / np.linalg.norm(rows, axis=1)
    assert along.min() >= -1e-6 * max(1, np.abs(start).max())


@pytest.mark.parametrize("kind", ["independent", "lengths", "many"])
def test_solution_meets_the_conditions_of_optimality_for_each_problem_of_a_batch(kind):
    made = [awkward(kind, seed) for seed in range(30)]
    a = torch.tensor(np.stack([rows @ rows.T for rows, _ in made]))
    c = torch.tensor(np.stack([rows @ gradient for rows, gradient in made]))
    w = vmap(nonnegative)(a, c)
    slope = (a @ w.unsqueeze(-1)).squeeze(-1) + c
    scale = a.diagonal(dim1=-2, dim2=-1).sqrt()
    assert (w >= 0).all()
    assert (slope >= -1e-8 * scale).all()
    assert (slope * w).abs().max() <= 1e-8
    assert (w > 0).any(-1).sum() > 15
    for one, expected in enumerate(w):
        assert torch.equal(nonnegative(a[one], c[one]), expected)


@pytest.fixture(scope="module")
def digits():
    settings = {"epochs": 2, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[32])"}
    return settings, compare("split-digits", {"naive": Naive(), "gem": GEM(25)}, seeds=3, **settings).scores


def test_the_first_task_is_learned_as_naively_and_later_ones_forget_far_less(digits):
    scores = digits[1]
    np.testing.assert_array_equal(scores["gem"][:, 0], scores["naive"][:, 0])
    assert forgetting(scores["gem"]) < 0.5 * forgetting(scores["naive"])


def test_a_replica_learns_the_same_alone(digits):
    settings, scores = digits
    alone = compare("split-digits", {"gem": GEM(25)}, seeds=[2], **settings).scores["gem"]
    np.testing.assert_allclose(alone[0], scores["gem"][2], atol=1e-9)


def test_room_that_is_left_does_not_count():
    stream = tiny_stream("domain", (9, 9, 9))
    params = {}
    for kept in (9, 30):
        training = Training(3, 4, lr=0.05, device="cpu", dtype="float64")
        engine = Engine(stream, GEM(kept), training, tiny_model, [0, 1])
        replica = engine.start()
        for phase in engine.strategy.phases(stream):
            data = engine.load(phase)
            for replica in engine.train(replica, phase, data):  # noqa: B007, B020
                pass
            replica = engine.boundary(replica, phase, data, "end_task")
        params[kept] = replica.params
    for k, v in params[9].items():
        torch.testing.assert_close(params[30][k], v, rtol=0, atol=1e-9)


def test_contract_with_few_samples(level):
    check_strategy(GEM(4), level=level)


def test_refusals():
    with pytest.raises(PerdureError, match=r"samples_per_task must be a whole number of at least 1; found 0"):
        GEM(0)
    with pytest.raises(PerdureError, match=r"margin must be at least 0; found -1"):
        GEM(margin=-1)
