"""A weight as a sum of Kronecker products: the strongest, how many count, and a layer that has them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from perdure.core.errors import PerdureError
from perdure.models.adapters.lowrank import HEAD, Targets, find_targets, head_of

# A spectrum that sags less than this below a straight line, as a share of its largest value, has no elbow.
STRAIGHT = 1e-6


class KroneckerSum(nn.Module):
    """Computes ``W = W_rest + sum_k A_k (x) B_k`` from what is frozen of a weight; of no effect at first.

    A convolution's weight ``[o, i, kh, kw]`` is the matrix ``o x (i kh kw)``.

    Parameters
    ----------
    weight:
        The weight, for its shape and type.
    most:
        How many products there are at most.

    ``left`` is A ``[count, m1, n1]`` and ``right`` B ``[count, m2, n2]``, zero, for the shapes of
    :func:`shapes`; ``count`` is ``most``, or all there are of a weight if those are fewer.
    """

    def __init__(self, weight: Tensor, most: int) -> None:
        super().__init__()
        (m1, n1), (m2, n2) = shapes(*weight.flatten(1).shape)
        count = min(most, m1 * n1, m2 * n2)
        self.left = nn.Parameter(weight.new_zeros(count, m1, n1))
        self.right = nn.Parameter(weight.new_zeros(count, m2, n2))

    def forward(self, base: Tensor) -> Tensor:
        """Add the products to the frozen part."""
        return base + summed(self.left, self.right).view(base.shape)


def shapes(out: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the shapes of two factors whose Kronecker product is ``[out, width]``.

    The first has the largest divisor of ``out`` up to its square root, and the smallest of ``width`` from its
    square root: where sides are prime, the product is one of a column and a row, as in LoRA.

    >>> shapes(64, 64), shapes(6, 5), shapes(7, 5)
    (((8, 8), (8, 8)), ((2, 5), (3, 1)), ((1, 5), (7, 1)))
    """
    rows = max(d for d in range(1, math.isqrt(out) + 1) if out % d == 0)
    columns = width // max(d for d in range(1, math.isqrt(width) + 1) if width % d == 0)
    return (rows, columns), (out // rows, width // columns)


def summed(left: Tensor, right: Tensor) -> Tensor:
    """Return ``sum_k A_k (x) B_k``, ``[m1 m2, n1 n2]``, of ``left [k, m1, n1]`` and ``right [k, m2, n2]``."""
    blocks = torch.einsum("kab,kcd->acbd", left, right)
    return blocks.flatten(2).flatten(0, 1)


def rearranged(matrix: Tensor, left: tuple[int, int], right: tuple[int, int]) -> Tensor:
    """Return a matrix's blocks as rows, ``[m1 n1, m2 n2]``: of ``A (x) B`` that is ``vec(A) vec(B)^T``."""
    blocks = matrix.view(left[0], right[0], left[1], right[1])
    return blocks.transpose(1, 2).flatten(2).flatten(0, 1)


def components(matrix: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the strongest Kronecker products of a matrix, and the singular values of its rearrangement.

    Parameters
    ----------
    matrix:
        ``[out, in]``.
    count:
        How many products: ``left [count, m1, n1]`` and ``right [count, m2, n2]``, each with the square root
        of a singular value as its norm.

    The sum of all products is the matrix; that of the first k is the nearest of all sums of k products.
    """
    left, right = shapes(*matrix.shape)
    u, s, v = torch.linalg.svd(rearranged(matrix, left, right), full_matrices=False)
    root = s[:count].sqrt()
    a, b = (u[:, :count] * root).mT, v[:count] * root.unsqueeze(-1)
    return a.reshape(-1, *left), b.reshape(-1, *right), s


def rank_of(values: Tensor, energy: float, elbow: bool) -> Tensor:
    """Return how many singular values count, a 0-d tensor: at least 1.

    Parameters
    ----------
    values:
        ``[k]``, descending.
    energy:
        As few as hold this share of the squares' sum.
    elbow:
        And no more than stand before the elbow, the value farthest below the straight line from the first to
        the last. A straight spectrum has none.

    >>> rank_of(torch.tensor([10.0, 9.0, 1.0, 0.9, 0.8]), 0.999, True)
    tensor(2)
    >>> rank_of(torch.tensor([10.0, 9.0, 1.0, 0.9, 0.8]), 0.999, False)
    tensor(5)
    """
    power = values.square()
    rank = (power.cumsum(0) - power < energy * power.sum()).sum()
    if elbow and len(values) > 2:
        place = torch.linspace(0, 1, len(values), dtype=values.dtype, device=values.device)
        below = values[0] + place * (values[-1] - values[0]) - values
        before = torch.where(below.amax() > STRAIGHT * values[0], below.argmax(), len(values))
        rank = torch.minimum(rank, before)
    return rank.clamp_min(1)


def adapt(model: nn.Module, outputs: int, most: int, targets: Targets, frozen: bool) -> nn.Module:
    """Return a copy of a model with a :class:`KroneckerSum` on each target's weight; outputs stay the same.

    Parameters
    ----------
    model, outputs, targets:
        As in :func:`perdure.models.adapters.lowrank.find_targets`.
    most:
        As in :class:`KroneckerSum`.
    frozen:
        Whether all but the products and the head need no gradient.

    Raises
    ------
    PerdureError
        Where a weight is shared or computed already.
    """
    model = copy.deepcopy(model)
    chosen, head = find_targets(model, outputs, targets), head_of(model, outputs)
    owners = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    for path, layer in chosen.items():
        if parametrize.is_parametrized(layer) or owners.count(id(layer.weight)) > 1:
            raise PerdureError(f"Kronecker adapters need plain weights; {path}.weight is shared or computed")
    if frozen:
        model.requires_grad_(False)
    if head is not None:
        model.get_submodule(head).requires_grad_(True)
        setattr(model.get_submodule(head), HEAD, True)
    for layer in chosen.values():
        parametrize.register_parametrization(layer, "weight", KroneckerSum(layer.weight.detach(), most))
    return model


def adapters(model: nn.Module) -> dict[str, KroneckerSum]:
    """Return the adapters of a model, by the name of their layer."""
    end = ".parametrizations.weight.0"
    parts = {f".{p}": m for p, m in model.named_modules() if isinstance(m, KroneckerSum)}
    return {p.removesuffix(end).removeprefix("."): m for p, m in parts.items()}
