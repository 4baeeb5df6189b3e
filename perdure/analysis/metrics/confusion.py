"""What confusion matrices tell: ``C[..., i, j]`` counts the samples of class ``i`` answered ``j``."""

from __future__ import annotations

import numpy as np

from perdure.analysis.metrics.matrix import Array, ratio


def shares(confusion: Array) -> Array:
    """Share of each answer among a class's samples, ``C[i, j] / sum_j C[i, j]``; NaN where there are none."""
    return ratio(confusion, np.broadcast_to(confusion.sum(axis=-1, keepdims=True), confusion.shape))


def per_class_accuracy(confusion: Array) -> Array:
    """Share of each class's samples that were answered right, ``C[i, i] / sum_j C[i, j]``: ``[..., class]``.

    >>> per_class_accuracy(np.array([[3.0, 1.0], [0.0, 2.0]]))
    array([0.75, 1.  ])
    """
    return np.diagonal(shares(confusion), axis1=-2, axis2=-1).copy()
