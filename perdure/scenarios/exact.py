"""Arithmetic that gives the same bits on every machine: what streams that are made are computed with.

Sums of a library of linear algebra, and its sines and logarithms, differ in their last bits from processor to
processor, and eigenvectors of repeated eigenvalues altogether. Here everything is made of single additions,
multiplications, divisions and square roots of float64 arrays, which IEEE 754 fixes, in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

LN2 = 0.6931471805599453
PIECE = 2**14  # numbers of a product that are computed at a time: they stay in the processor's cache
# Share of the largest diagonal entry below which a pivot is what rounding leaves of zero.
NOTHING = 1e-10


def log(x: Floats) -> Floats:
    """Natural logarithm of positive numbers: ``e ln 2 + 2 artanh((m - 1) / (m + 1))`` of ``x = m 2^e``."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s  # at most 0.03: twelve terms are all that float64 sees
    series = np.zeros_like(s)
    for k in range(12, -1, -1):
        series = series * square + 1 / (2 * k + 1)
    found: Floats = exponent * LN2 + 2 * s * series
    return found


def cos(x: Floats) -> Floats:
    """Cosine, by its series at a quarter of the angle, which is doubled twice."""
    quarter = (x - np.floor(x / (2 * math.pi) + 0.5) * (2 * math.pi)) / 4
    square = quarter * quarter
    series = np.ones_like(square)
    for k in range(9, 0, -1):
        series = 1 - series * square / ((2 * k - 1) * (2 * k))
    for _ in range(2):
        series = 2 * series * series - 1
    return series


def total(x: Floats) -> Floats:
    """Sum over the first axis, in pairs of pairs."""
    while len(x) > 1:
        half = len(x) // 2
        pairs = x[:half] + x[half : 2 * half]
        x = np.concatenate([pairs, x[2 * half :]]) if len(x) % 2 else pairs
    return x[0] if len(x) else np.zeros(x.shape[1:])


def product(a: Floats, b: Floats) -> Floats:
    """Matrix product ``[n, k] x [k, m]``."""
    out = np.zeros((len(a), b.shape[1]))
    step = max(1, PIECE // b.shape[1])
    buffer = np.empty((step, b.shape[1]))
    for start in range(0, len(a), step):
        rows, piece = a[start : start + step], out[start : start + step]
        for k, row in enumerate(b):
            piece += np.multiply(rows[:, k : k + 1], row, out=buffer[: len(rows)])
    return out


def factor(matrix: Floats) -> Floats:
    """Factor ``F [n, rank]`` of a positive semidefinite matrix, ``F F^T``, by pivoted Cholesky steps."""
    rest, columns = matrix.copy(), []
    least = NOTHING * max(float(np.diag(matrix).max()), 1.0)
    for _ in range(len(matrix)):
        pivot = int(np.diag(rest).argmax())
        if rest[pivot, pivot] <= least:
            break
        column = rest[:, pivot] / math.sqrt(rest[pivot, pivot])
        columns.append(column)
        rest = rest - column[:, None] * column
    return np.stack(columns, 1)


def orthonormal(rows: Floats) -> Floats:
    """Make independent rows ``[k, n]``, ``k <= n``, orthonormal, one after the other (Gram and Schmidt).

    Of rows of independent normal numbers every orthonormal set is equally likely.
    """
    done = np.zeros_like(rows)
    for i, row in enumerate(rows):
        for _ in range(2):  # the second time takes away what rounding left
            shares = total((done[:i] * row).T)
            row = row - total(done[:i] * shares[:, None])
        done[i] = row / np.sqrt(total(row * row))
    return done
