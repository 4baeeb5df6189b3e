"""Gradients made orthogonal and of one length."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_one_of
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import normalised
from perdure.strategies.balancing.spectrum import spectrum
from perdure.strategies.parts.balancing import Rule, balancing_rule


@balancing_rule("aligned-mtl")
class AlignedMTL(Rule):
    """Independent component alignment: replace the gradients by the nearest orthogonal ones of one length.

    With ``G = V diag(l) V'`` the products of the gradients, ``w = sqrt(scale) V diag(l^(-1/2)) V' 1 / T``
    over the eigenvalues l that are not 0: the matrix of gradients gets condition number 1.

    Parameters
    ----------
    scale:
        ``"min"``: the least of these eigenvalues, so that no gradient is drawn out; ``"mean"``: their mean,
        as the authors' code has it.

    >>> import torch
    >>> gram = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    >>> [round(float(w), 4) for w in AlignedMTL().weights(gram, gram[0], {}, None)]
    [0.5, 0.25]

    Source: Senushkin et al., CVPR 2023. Deviations: none.
    """

    scale: Literal["min", "mean"] = "min"

    def __post_init__(self) -> None:
        check_one_of("scale", self.scale, ("min", "mean"))

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        values, vectors, kept = spectrum(normalised(gram))
        if self.scale == "min":
            scale = torch.where(kept, values, torch.inf).amin()
        else:
            scale = torch.where(kept, values, 0.0).sum() / kept.sum()
        stretch = torch.where(kept, (scale / torch.where(kept, values, 1.0)).sqrt(), 0.0)
        weights = vectors @ (stretch * vectors.mean(0))
        return torch.where(kept.any(), weights, 1.0 / len(values))
