"""Credal sets of diagonal Gaussians: distances, combinations, highest-density regions, preferences.

Pure functions on vectors of all weights of a model, ``[..., D]``, which ``ibcl`` trains.
Source: Lu et al., IBCL, arXiv 2305.14782; docstrings say what is the paper's and what is reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.random import Rng

READINGS = ("barycentre", "mixture", "independent")
# Numbers that one block of samples may hold, and how many samples tell the density of a mixture's region.
BLOCK, DRAWS = 2**22, 4096


def wasserstein(mean: Tensor, sigma: Tensor, other_mean: Tensor, other_sigma: Tensor) -> Tensor:
    """2-Wasserstein distance of diagonal Gaussians, ``[...]``: ``W2^2 = ||dmu||^2 + ||dsigma||^2``.

    Exact for covariances that commute (Dowson & Landau, 1982).
    """
    squared = (mean - other_mean).square().sum(-1) + (sigma - other_sigma).square().sum(-1)
    return squared.sqrt()


def get_sigma(rho: Tensor) -> Tensor:
    """Standard deviation ``log(1 + exp(rho))`` of the trained numbers ``rho``."""
    return torch.nn.functional.softplus(rho)


def get_rho(sigma: float) -> float:
    """Invert :func:`get_sigma`."""
    return sigma + math.log(-math.expm1(-sigma))


def divergence(mean: Tensor, sigma: Tensor, prior_mean: Tensor, prior_sigma: Tensor) -> Tensor:
    """KL divergence of a diagonal Gaussian from its prior, ``[...]``.

    ``KL(q || p) = sum_i log(p_i / q_i) + (q_i^2 + (mu_i - nu_i)^2) / (2 p_i^2) - 1/2`` with standard
    deviations q and p, means mu and nu.
    """
    spread = (sigma / prior_sigma).square()
    apart = ((mean - prior_mean) / prior_sigma).square()
    return 0.5 * (spread + apart - 1.0 - spread.log()).sum(-1)


def check_preference(preference: Sequence[float] | Tensor, seen: Sequence[bool] | Tensor) -> Tensor:
    """Return the preference as float64 ``[tasks]``: weights on the simplex, on tasks that were learned."""
    try:
        weights = torch.as_tensor(preference, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise PerdureError(f"a preference must be a list of numbers; found {preference!r}") from None
    known = torch.as_tensor(seen, dtype=torch.bool).cpu()
    if weights.shape != known.shape:
        raise PerdureError(
            f"a preference must hold one weight for each of the {len(known)} tasks; "
            f"found shape {list(weights.shape)}"
        )
    total = float(weights.sum())
    if not (bool((weights >= 0).all()) and abs(total - 1.0) <= 1e-6):
        raise PerdureError(
            f"a preference must be weights of at least 0 that sum to 1: divide by the sum; "
            f"found {[round(w, 4) for w in weights.tolist()]}"
        )
    if unseen := [t for t in range(len(known)) if weights[t] > 0 and not known[t]]:
        raise PerdureError(
            f"a preference may only name tasks learned so far: give task {unseen[0]} weight 0 or learn it"
        )
    return weights


def row_weights(index: Tensor, preference: Tensor, rows: int) -> Tensor:
    """Weight of each stored posterior, ``[rows]``: the sum over tasks t and chains j of ``w_t / m``.

    ``index`` ``[tasks, m]`` names the posterior of each task and chain. One that stands in for several
    counts as often (reconstruction: the paper does not say).
    """
    share = (preference / index.shape[1]).view(-1, 1, 1)
    own = index.unsqueeze(-1) == torch.arange(rows, device=index.device)
    return (own.to(share.dtype) * share).sum((0, 1))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of diagonal Gaussians; with one component, a Gaussian.

    Parameters
    ----------
    weight:
        Share of each component, ``[components]``, positive, summing to 1.
    mean, sigma:
        Means and standard deviations, ``[components, D]``.
    """

    weight: Tensor
    mean: Tensor
    sigma: Tensor

    @property
    def center(self) -> Tensor:
        """The mean of the whole, ``[D]``."""
        return (self.weight.unsqueeze(-1) * self.mean).sum(0)

    def log_density(self, points: Tensor) -> Tensor:
        """Logarithm of the density at ``points`` ``[n, D]``, ``[n]``."""
        terms = []
        for w, mean, sigma in zip(self.weight, self.mean, self.sigma, strict=True):
            inside = ((points - mean) / sigma).square().sum(-1) + 2.0 * sigma.log().sum()
            terms.append(w.log() - 0.5 * (inside + mean.numel() * math.log(2 * math.pi)))
        return torch.stack(terms).logsumexp(0)

    def draw(self, n: int, rng: Rng) -> Tensor:
        """``n`` samples ``[n, D]``: a component each, then every coordinate independently."""
        edges = self.weight.cumsum(0)
        chosen = torch.searchsorted(edges, rng.uniform("component", n, dtype=edges.dtype) * edges[-1])
        noise = rng.normal("noise", n, self.mean.shape[1], dtype=self.mean.dtype)
        chosen = chosen.clamp_max(len(edges) - 1)
        return self.mean[chosen] + self.sigma[chosen] * noise


def combine(weight: Tensor, mean: Tensor, sigma: Tensor, reading: str = "barycentre") -> Mixture:
    """Combine Gaussians ``[rows, D]`` with weights ``[rows]`` on the simplex; rows of weight 0 play no part.

    The paper's ``q_w = sum_r w_r q_r`` can be read in three ways, all with the mean ``sum_r w_r mu_r``:

    - ``"barycentre"``: ``N(sum w mu, (sum w sigma)^2)``, the Wasserstein barycentre of diagonal Gaussians, as
      the paper's code has it;
    - ``"mixture"``: the density ``sum w_r q_r``, as the formula is written;
    - ``"independent"``: the law of ``sum w_r theta_r`` for independent ``theta_r``:
      ``N(sum w mu, sum w^2 sigma^2)``, as a sum of random variables (reconstruction).
    """
    if reading not in READINGS:
        raise PerdureError(f"reading must be one of {', '.join(READINGS)}; found {reading!r}")
    used = weight > 0
    w, mean, sigma = weight[used].to(mean.dtype), mean[used], sigma[used]
    if reading == "mixture":
        return Mixture(w, mean, sigma)
    share, one = w.unsqueeze(-1), torch.ones(1, dtype=mean.dtype, device=mean.device)
    center = (share * mean).sum(0, keepdim=True)
    if reading == "barycentre":
        return Mixture(one, center, (share * sigma).sum(0, keepdim=True))
    return Mixture(one, center, (share * sigma).square().sum(0, keepdim=True).sqrt())


@dataclass(frozen=True, eq=False)
class Region:
    """The smallest set that holds the mass ``1 - alpha``: where the density is at least ``level``.

    For a Gaussian, ``sum_i ((theta_i - mu_i) / sigma_i)^2 <= chi2_D(1 - alpha)``, an ellipsoid; exact. For a
    mixture, ``level`` is the alpha-quantile of the log density of its own samples (Hyndman, 1996), estimated.
    The definition is the paper's; its code takes a box, and 1 - alpha for alpha.
    """

    mixture: Mixture
    alpha: float
    level: float

    def contains(self, points: Tensor) -> Tensor:
        """Tell which of ``points`` ``[n, D]`` lie inside, ``[n]`` bool."""
        inside: Tensor
        if len(self.mixture.weight) > 1:
            inside = self.mixture.log_density(points) >= self.level
        else:
            scaled = (points - self.mixture.mean) / self.mixture.sigma
            inside = scaled.double().square().sum(-1) <= self.level
        return inside

    def draw(self, n: int, rng: Rng) -> Tensor:
        """``n`` samples ``[n, D]`` of the distribution, given that they lie inside.

        A Gaussian's have a direction drawn uniformly, every coordinate on its own, and a squared radius from
        the chi-square distribution cut at the region's edge. A mixture's are drawn until enough lie inside.
        """
        if len(self.mixture.weight) > 1:
            return self._draw_mixture(n, rng)
        size, like = self.mixture.mean.shape[1], self.mixture.mean
        direction = rng.normal("direction", n, size, dtype=torch.float64)
        direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(1e-300)
        mass = (1.0 - self.alpha) * rng.uniform("radius", n, dtype=torch.float64)
        radius = torch.as_tensor(_quantile(mass.cpu().numpy(), size), device=like.device).sqrt().view(n, 1)
        # A hair inside, so that rounding to the weights' type leaves no sample on the wrong side.
        scaled: Tensor = (radius * direction * (1.0 - 4 * torch.finfo(like.dtype).eps)).to(like.dtype)
        return like + self.mixture.sigma * scaled

    def _draw_mixture(self, n: int, rng: Rng) -> Tensor:
        kept: list[Tensor] = []
        found = block = 0
        while found < n:
            points = self.mixture.draw(n, rng.scoped(f"block{block}"))
            kept.append(points[self.contains(points)])
            found, block = found + len(kept[-1]), block + 1
        return torch.cat(kept)[:n]


def _quantile(mass: Any, size: int) -> Any:
    """Quantile of the chi-square distribution with ``size`` degrees of freedom."""
    # Here, not on top: importing it takes longer than the rest of this package does.
    from scipy.special import gammaincinv

    return 2.0 * gammaincinv(size / 2.0, mass)


def highest_density(mixture: Mixture, alpha: float, rng: Rng) -> Region:
    """Return the highest-density region of mass ``1 - alpha``; ``rng`` serves mixtures only."""
    if not 0 < alpha < 1:
        raise PerdureError(f"alpha must lie in (0, 1): the region holds the mass 1 - alpha; found {alpha}")
    size = mixture.mean.shape[1]
    if len(mixture.weight) == 1:
        return Region(mixture, alpha, float(_quantile(1.0 - alpha, size)))
    block = max(1, min(DRAWS, BLOCK // size))
    # The same numbers whatever alpha is, so that regions are nested in it.
    densities = [
        mixture.log_density(mixture.draw(block, rng.scoped(f"level{i}"))) for i in range(-(-DRAWS // block))
    ]
    return Region(mixture, alpha, float(torch.cat(densities).quantile(alpha)))
