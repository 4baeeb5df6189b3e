"""A step of the same length along every task's gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import normalised
from perdure.strategies.balancing.spectrum import spectrum
from perdure.strategies.parts.balancing import Rule, balancing_rule


@balancing_rule("imtl-g")
class IMTLG(Rule):
    """Impartial multi-task learning: the step goes equally far along every task's direction.

    The projections of ``d = sum_t w_t g_t`` on all ``g_t / |g_t|`` are the same, and w sums to 1: with G the
    products of the gradients and n their lengths, ``w = G^+ n / (1' G^+ n)``, ``G^+`` the pseudo-inverse.
    Weights may be negative. Where they would sum to 0 they are 0.

    >>> import torch
    >>> gram = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    >>> [round(float(w), 4) for w in IMTLG().weights(gram, gram[0], {}, None)]
    [0.6667, 0.3333]

    Source: Liu et al., ICLR 2021. Deviations: the pseudo-inverse, for gradients that depend on each other, is
    that of Quinton & Rey, arXiv 2406.16232; the paper's weights of losses (IMTL-L) are not part of it.
    """

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        gram = normalised(gram)
        values, vectors, kept = spectrum(gram)
        inverse = torch.where(kept, 1.0 / torch.where(kept, values, 1.0), 0.0)
        found = vectors @ (inverse * (vectors.mT @ gram.diagonal().clamp_min(0.0).sqrt()))
        total = found.sum()
        ample = total.abs() > 1e-12
        return torch.where(ample, found / torch.where(ample, total, 1.0), 0.0)
