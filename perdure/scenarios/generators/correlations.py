"""Correlations of tasks, and of the labels that polynomials of correlated numbers have, in closed form.

Labels are ``y_i = z_i + z_i^2 + ... + z_i^d_i`` of standard normal numbers with ``corr(z_i, z_j) = p_ij``. In
Hermite polynomials, ``y_i = sum_n a_n He_n(z_i)``, and of these ``cov(He_n(z_i), He_m(z_j)) = n! p_ij^n``
where ``n = m`` and 0 elsewhere, so that ``cov(y_i, y_j) = sum_n n! a_n^i a_n^j p_ij^n``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError, shown
from perdure.scenarios.exact import Floats
from perdure.scenarios.values import as_tensor

# A number for all pairs, or a matrix.
Correlations: TypeAlias = float | Sequence[Sequence[float]] | np.ndarray[Any, Any] | Tensor

MOST_DEGREES = 8
# Eigenvalues of a matrix of correlations below zero by less than this are rounding.
NEGATIVE = 1e-9
HALVINGS = 60  # of an interval, until its ends are neighbours


@cache
def hermite(degree: int) -> tuple[float, ...]:
    """Coefficients ``a_1 .. a_d`` of ``z + z^2 + ... + z^d`` in Hermite polynomials; without the mean.

    >>> hermite(4)
    (4.0, 7.0, 1.0, 1.0)
    """
    found = [0.0] * (degree + 1)
    for k in range(1, degree + 1):
        for j in range(k // 2 + 1):
            n = k - 2 * j
            found[n] += math.factorial(k) / (2**j * math.factorial(j) * math.factorial(n))
    return tuple(found[1:])


def variance(degree: int) -> float:
    """Variance of ``z + z^2 + ... + z^d``: 1, 3, 24, 144 for the degrees 1 to 4."""
    return sum(math.factorial(n) * a * a for n, a in enumerate(hermite(degree), start=1))


def curve(one: int, two: int) -> Callable[[Any], Any]:
    """Correlation of the labels of two degrees, without noise, as a function of that of their tasks."""
    pairs = zip(hermite(one), hermite(two), strict=False)
    terms = [math.factorial(n) * a * b for n, (a, b) in enumerate(pairs, start=1)]
    scale = math.sqrt(variance(one) * variance(two))

    def of(p: Any) -> Any:
        value = p * 0
        for term in reversed(terms):
            value = (value + term) * p
        return value / scale

    return of


def of_labels(tasks: Floats, degrees: Sequence[int], heard: Floats) -> Floats:
    """Correlation of the labels, ``[T, T]``.

    Parameters
    ----------
    tasks:
        That of the tasks, ``[T, T]``.
    degrees:
        Degree of each task.
    heard:
        Of each label the share of its deviation that is no noise, ``[T]``: the root of signal over all.
    """
    found = _by_degrees(tasks, degrees, lambda one, two, block: curve(one, two)(block))
    found *= heard[:, None] * heard
    np.fill_diagonal(found, 1.0)
    return found


def _by_degrees(values: Floats, degrees: Sequence[int], of: Callable[[int, int, Floats], Floats]) -> Floats:
    """Apply a function to the entries of each pair of degrees."""
    kinds, found = np.asarray(degrees), np.empty_like(values)
    for one in sorted(set(degrees)):
        for two in sorted(set(degrees)):
            place = np.ix_(kinds == one, kinds == two)
            found[place] = of(one, two, values[place])
    return found


@cache
def lowest(one: int, two: int) -> float:
    """Correlation of two tasks at which that of their labels is lowest: below it, it rises again."""
    grid = np.linspace(0.0, -1.0, 2001)
    values = curve(one, two)(grid)
    turns = np.flatnonzero(np.diff(values) >= 0)
    return float(grid[turns[0]]) if len(turns) else -1.0


def needed(labels: Floats, degrees: Sequence[int], heard: Floats) -> Floats | None:
    """Correlation of the tasks, ``[T, T]``, that gives labels an asked one; None where no number does."""
    asked = labels / (heard[:, None] * heard)

    def solve(one: int, two: int, block: Floats) -> Floats:
        of = curve(one, two)
        low, high = np.where(block < 0, lowest(one, two), 0.0), np.where(block < 0, 0.0, 1.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = of(middle) < block
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        reached = np.abs(of(high) - block) < 1e-9
        return np.where(reached, high, np.nan)

    np.fill_diagonal(asked, 0.0)
    found = _by_degrees(asked, degrees, solve)
    np.fill_diagonal(found, 1.0)
    return None if np.isnan(found).any() else found


class Asked(NamedTuple):
    """A matrix that a user asked for, ``[T, T]``, and the number that it was made of, if it was one."""

    matrix: Floats
    number: float | None


def read(name: str, value: Correlations, groups: Sequence[int], between: float) -> Asked:
    """Read correlations: one number for all pairs within a group, ``between`` across, or a whole matrix."""
    tasks = sum(groups)
    if isinstance(value, float | int):
        number = check_number(f"`{name}`", value, low=-1, high=1, ends="[]")
        group = np.repeat(np.arange(len(groups)), groups)
        matrix = np.where(group[:, None] == group, float(number), float(between))
        np.fill_diagonal(matrix, 1.0)
        return Asked(matrix, number if len(groups) == 1 else None)
    if len(groups) > 1:
        raise PerdureError(f"`groups` go with a number as `{name}`; found a matrix")
    matrix = as_tensor(f"`{name}`", value).to(torch.float64).numpy()
    if matrix.shape != (tasks, tasks):
        raise PerdureError(f"`{name}` must be a number or [{tasks}, {tasks}]; found {list(matrix.shape)}")
    wrong = not np.isfinite(matrix).all() or (matrix != matrix.T).any() or (np.abs(matrix) > 1).any()
    if wrong or (np.diag(matrix) != 1).any():
        raise PerdureError(f"`{name}` must be symmetric, in [-1, 1], with ones on its diagonal; found others")
    return Asked(matrix, None)


def read_groups(groups: int | Sequence[int], tasks: int) -> list[int]:
    """Return how many tasks each group holds: so many groups of about one size, or the sizes themselves."""
    if isinstance(groups, int):
        number = check_whole("`groups`", groups, most=tasks)
        return [tasks * (g + 1) // number - tasks * g // number for g in range(number)]
    sizes = [check_whole("`groups`", size) for size in groups]
    if sum(sizes) != tasks:
        raise PerdureError(f"`groups` must be sizes that add up to {tasks}, the tasks; found {shown(groups)}")
    return sizes


def possible(matrix: Floats | None) -> bool:
    """Whether a matrix is one of correlations: positive semidefinite."""
    return matrix is not None and bool(np.linalg.eigvalsh(matrix).min() >= -NEGATIVE)


def solve(name: str, asked: Asked, make: Callable[[Floats], Floats | None]) -> Floats:
    """Return ``make(asked)``, the correlation of the tasks; refuse one that cannot be, with the nearest.

    ``make`` returns None for what no numbers meet. The nearest is sought on the way to no correlation at all.
    """
    found = make(asked.matrix)
    if found is not None and possible(found):
        return found
    low, high = 0.0, 1.0
    eye = np.eye(len(asked.matrix))
    for _ in range(30):
        share = (low + high) / 2
        fits = possible(make(asked.matrix * share + eye * (1 - share)))
        low, high = (share, high) if fits else (low, share)
    if asked.number is None:
        raise PerdureError(
            f"`{name}` must be correlations that {len(eye)} tasks can have (positive semidefinite); found "
            f"others: the nearest, all of them times {math.floor(low * 1e4) / 1e4:.4f}, can be met"
        )
    nearest = math.copysign(math.floor(abs(asked.number) * low * 1e4) / 1e4, asked.number)
    raise PerdureError(
        f"`{name}` must be a correlation that {len(eye)} tasks of these degrees can have; found "
        f"{asked.number:g}: the nearest is {nearest:.4f}"
    )
