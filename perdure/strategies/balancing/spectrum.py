"""Eigenvalues of products of gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def spectrum(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return eigenvalues ``[T]``, rising, eigenvectors ``[T, T]``, and which eigenvalues are not zero.

    Zero is what rounding cannot tell from it: at most T times the largest times the kind of number's epsilon.
    """
    values, vectors = torch.linalg.eigh(gram)
    return values, vectors, values > values[-1] * len(values) * torch.finfo(values.dtype).eps
