"""Credal sets: distances, combinations, regions that have their mass, preferences, fronts."""

import math

import pytest
import torch
from scipy.stats import chi2

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.strategies.bayesian.credal import (
    Mixture,
    check_preference,
    combine,
    divergence,
    get_rho,
    get_sigma,
    highest_density,
    row_weights,
    wasserstein,
)


def rng(seed=0):
    return Rng(torch.tensor(seed), torch.tensor(0))


def gaussian(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(1, size, generator=generator, dtype=torch.float64)
    sigma = 0.05 + torch.rand(1, size, generator=generator, dtype=torch.float64) * 3
    return Mixture(torch.ones(1, dtype=torch.float64), mean, sigma)


def two(apart=6.0, size=2):
    mean = torch.zeros(2, size, dtype=torch.float64)
    mean[1, 0] = apart
    sigma = torch.tensor([[1.0], [0.5]], dtype=torch.float64).expand(2, size).contiguous()
    return Mixture(torch.tensor([0.7, 0.3], dtype=torch.float64), mean, sigma)


def test_distance_by_hand():
    # Means 3 apart, deviations 4 apart: 5. The distance of variances (or of rho) would be another.
    one, other = torch.tensor([0.0, 1.0]), torch.tensor([3.0, 1.0])
    assert wasserstein(one, torch.tensor([1.0, 5.0]), other, torch.tensor([1.0, 1.0])).item() == 5.0
    assert wasserstein(one, one + 1, one, one + 1).item() == 0.0


def test_divergence_is_torchs():
    q, p = gaussian(7), gaussian(7, 1)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, q.sigma), torch.distributions.Normal(p.mean, p.sigma)
    ).sum(-1)
    torch.testing.assert_close(divergence(q.mean, q.sigma, p.mean, p.sigma), theirs)


@pytest.mark.parametrize("sigma", [1e-4, 0.05, 0.2, 1.0, 30.0])
def test_rho_is_the_inverse_of_sigma(sigma):
    rho = torch.tensor(get_rho(sigma), dtype=torch.float64)
    assert get_sigma(rho).item() == pytest.approx(sigma, rel=1e-6)


# ---- preferences and combinations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preference", "line"),
    [
        ([0.5, 0.5], "one weight for each of the 3 tasks"),
        ([0.5, 0.5, 0.0, 0.0], "one weight for each of the 3 tasks"),
        (0.5, r"one weight for each of the 3 tasks; found shape \[\]"),
        (["a", "b", "c"], "a list of numbers"),
        ([0.5, [0.5], 0.0], "a list of numbers"),
        ([0.7, 0.7, 0.0], "sum to 1: divide by the sum"),
        ([1.5, -0.5, 0.0], "at least 0"),
        ([math.nan, 1.0, 0.0], "at least 0"),
        ([0.5, 0.0, 0.5], "give task 2 weight 0 or learn it"),
    ],
)
def test_a_preference_is_on_the_simplex_and_names_tasks_seen(preference, line):
    with pytest.raises(PerdureError, match=line) as caught:
        check_preference(preference, [True, True, False])
    assert "\n" not in str(caught.value)


def test_a_preference_that_is_one_comes_back():
    assert check_preference([0.25, 0.75, 0], [True, True, False]).tolist() == [0.25, 0.75, 0.0]


def test_a_posterior_that_stands_in_counts_as_often():
    index = torch.tensor([[0, 1], [0, 0]])
    rows = row_weights(index, torch.tensor([0.4, 0.6]), 4)
    torch.testing.assert_close(rows, torch.tensor([0.8, 0.2, 0.0, 0.0]))


def test_the_three_readings_by_hand():
    mean = torch.tensor([[0.0], [4.0], [9.0]], dtype=torch.float64)
    sigma = torch.tensor([[1.0], [2.0], [9.0]], dtype=torch.float64)
    weight = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    spread = {}
    for reading in ("barycentre", "independent"):
        one = combine(weight, mean, sigma, reading)
        assert one.mean.item() == one.center.item() == 2.0
        spread[reading] = one.sigma.item()
    assert spread["barycentre"] == pytest.approx(1.5)
    assert spread["independent"] == pytest.approx(math.sqrt(0.25 + 1.0))
    mixture = combine(weight, mean, sigma, "mixture")
    assert mixture.center.item() == 2.0
    # Variance of the mixture: mean of variances plus variance of means.
    assert mixture.draw(200_000, rng()).var().item() == pytest.approx(2.5 + 4.0, rel=0.02)
    with pytest.raises(PerdureError, match="reading must be one of"):
        combine(weight, mean, sigma, "sum")


@pytest.mark.parametrize("reading", ["barycentre", "mixture", "independent"])
def test_all_weight_on_one_returns_it(reading):
    mean, sigma = torch.randn(3, 5), torch.rand(3, 5) + 0.1
    one = combine(torch.tensor([0.0, 1.0, 0.0]), mean, sigma, reading)
    assert torch.equal(one.mean, mean[1:2])
    torch.testing.assert_close(one.sigma, sigma[1:2], rtol=1e-6, atol=0)


def test_of_two_quadratic_tasks_with_equal_curvature_the_mean_minimises_the_weighted_loss():
    hessian = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    optima = torch.tensor([[1.0, -2.0], [3.0, 5.0]], dtype=torch.float64)
    sigma = torch.tensor([[0.3, 0.1], [0.9, 0.4]], dtype=torch.float64)

    def losses(theta):
        apart = theta - optima
        return torch.einsum("ti,ij,tj->t", apart, hessian, apart)

    found = []
    for w in torch.linspace(0.0, 1.0, 11, dtype=torch.float64).unbind():
        weight = torch.stack([1 - w, w])
        for reading in ("barycentre", "mixture", "independent"):
            center = combine(weight, optima, sigma, reading).center
            slope = torch.func.grad(lambda theta, weight=weight: (weight * losses(theta)).sum())(center)
            assert slope.abs().max().item() < 1e-12
        found.append(losses(center))
    each = torch.stack(found)
    assert (each[1:, 0] > each[:-1, 0]).all()
    assert (each[1:, 1] < each[:-1, 1]).all()


# ---- regions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 513])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.25])
def test_a_gaussians_region_has_its_mass(size, alpha):
    posterior = gaussian(size)
    region = highest_density(posterior, alpha, rng(1))
    n = 20_000 if size == 2 else 6000
    inside = region.contains(posterior.draw(n, rng(2))).double().mean().item()
    assert inside == pytest.approx(1 - alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / n))


@pytest.mark.parametrize("size", [2, 513])
def test_a_mixtures_region_has_its_mass(size):
    for alpha in (0.1, 0.25):
        region = highest_density(two(size=size), alpha, rng(1))
        inside = region.contains(two(size=size).draw(4000, rng(2))).double().mean().item()
        assert inside == pytest.approx(1 - alpha, abs=0.03)


@pytest.mark.parametrize("posterior", [gaussian(3), two()])
def test_regions_are_nested_in_alpha(posterior):
    points = posterior.draw(5000, rng(3))
    wide, middle, narrow = (
        highest_density(posterior, alpha, rng(1)).contains(points) for alpha in (0.01, 0.1, 0.25)
    )
    assert (narrow <= middle).all()
    assert (middle <= wide).all()
    assert narrow.sum() < middle.sum() < wide.sum()


def test_a_region_is_where_the_density_is_highest():
    # In a box of the same mass, a corner has a lower density than a point outside its side.
    for posterior in (gaussian(2), two()):
        points = posterior.draw(5000, rng(4)) * 1.5
        inside = highest_density(posterior, 0.2, rng(1)).contains(points)
        density = posterior.log_density(points)
        assert density[inside].min() > density[~inside].max()


@pytest.mark.parametrize("posterior", [gaussian(2), gaussian(40), two()])
@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_samples_lie_inside(posterior, alpha):
    region = highest_density(posterior, alpha, rng(1))
    points = region.draw(3000, rng(5))
    assert points.shape == (3000, posterior.mean.shape[1])
    assert region.contains(points).all()
    flat = Mixture(posterior.weight.float(), posterior.mean.float(), posterior.sigma.float())
    region = highest_density(flat, alpha, rng(1))
    assert region.contains(region.draw(3000, rng(5))).all()


@pytest.mark.parametrize("size", [2, 513])
def test_sampled_coordinates_are_uncorrelated(size):
    posterior = gaussian(size)
    points = highest_density(posterior, 0.1, rng(1)).draw(4000, rng(6))
    scaled = (points - posterior.mean) / posterior.sigma
    correlation = torch.corrcoef(scaled.T) - torch.eye(size, dtype=torch.float64)
    # One number for a whole tensor would give 1 everywhere; 5.5 deviations of chance among 131 000 pairs.
    assert correlation.abs().max().item() < 5.5 / math.sqrt(4000)
    free = (posterior.draw(4000, rng(6)) - posterior.mean) / posterior.sigma
    assert (torch.corrcoef(free.T).fill_diagonal_(0)).abs().max().item() < 5.5 / math.sqrt(4000)


@pytest.mark.parametrize("size", [2, 513])
def test_samples_are_distributed_as_the_posterior_inside(size):
    posterior, alpha, n = gaussian(size), 0.3, 4000
    region = highest_density(posterior, alpha, rng(1))
    scaled = (region.draw(n, rng(7)) - posterior.mean) / posterior.sigma
    share = torch.tensor(chi2.cdf(scaled.square().sum(-1).numpy(), size)) / (1 - alpha)
    steps = torch.linspace(0, 1, n + 1, dtype=torch.float64)[1:]
    assert (share.sort().values - steps).abs().max().item() < 2 / math.sqrt(n)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_lies_between_0_and_1(alpha):
    with pytest.raises(PerdureError, match=r"alpha must lie in \(0, 1\)"):
        highest_density(gaussian(2), alpha, rng())


def test_the_density_is_torchs():
    mixture = two()
    each = torch.distributions.Independent(torch.distributions.Normal(mixture.mean, mixture.sigma), 1)
    theirs = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(mixture.weight), each)
    points = mixture.draw(50, rng())
    torch.testing.assert_close(mixture.log_density(points), theirs.log_prob(points))
