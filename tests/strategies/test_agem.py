import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.strategies import AGEM, Naive
from perdure.strategies.projection.agem import dot, project
from perdure.testing import check_strategy


def forgetting(scores):
    """Best earlier score minus the last, mean over the tasks but the last and over replicas."""
    return float((scores[:, :-1].max(1) - scores[:, -1])[:, :-1].mean())


def test_projection_by_hand():
    gradient = {"a": torch.tensor([1.0]), "b": torch.tensor([[0.0]])}
    reference = {"a": torch.tensor([-1.0]), "b": torch.tensor([[1.0]])}
    # g.r = -1 and r.r = 2: half of r is added.
    assert project(gradient, reference) == {"a": torch.tensor([0.5]), "b": torch.tensor([[0.5]])}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_after_projection_nothing_conflicts_and_without_conflict_nothing_changes(seed, dtype):
    source = torch.Generator().manual_seed(seed)

    def vector():
        shapes = {"a": (3, 4), "b": (5,)}
        return {k: torch.randn(s, generator=source, dtype=dtype) for k, s in shapes.items()}

    gradient, reference = vector(), vector()
    new = project(gradient, reference)
    assert dot(new, reference) >= -1e-6
    if dot(gradient, reference) >= 0:
        assert all(torch.equal(new[k], gradient[k]) for k in new)
    else:
        assert dot(new, new) < dot(gradient, gradient)
    nothing = {k: torch.zeros_like(v) for k, v in reference.items()}
    assert all(torch.equal(project(gradient, nothing)[k], gradient[k]) for k in gradient)


@pytest.fixture(scope="module")
def digits():
    # In class-incremental streams A-GEM is known to forget nearly as much as naive learning.
    settings = {"epochs": 3, "quiet": True, "dtype": "float64", "model": "mlp(hidden=[64])"}
    return settings, compare(
        "permuted-digits", {"naive": Naive(), "agem": AGEM(50, 64)}, seeds=3, **settings
    ).scores


def test_the_first_task_is_learned_as_naively_and_later_ones_forget_less(digits):
    scores = digits[1]
    np.testing.assert_array_equal(scores["agem"][:, 0], scores["naive"][:, 0])
    assert forgetting(scores["agem"]) < 0.75 * forgetting(scores["naive"])


def test_a_replica_learns_the_same_alone(digits):
    settings, scores = digits
    alone = compare("permuted-digits", {"agem": AGEM(50, 64)}, seeds=[2], **settings).scores["agem"]
    np.testing.assert_allclose(alone[0], scores["agem"][2], atol=1e-9)


def test_contract_with_few_samples(level):
    check_strategy(AGEM(4, 6), level=level)


def test_refusals():
    with pytest.raises(PerdureError, match=r"samples_per_task must be a whole number of at least 1; found 0"):
        AGEM(0)
    with pytest.raises(PerdureError, match="sample must"):
        AGEM(sample=0.5)
