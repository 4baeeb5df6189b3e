"""Fronts: which points no other beats on every task, and how much of the space they dominate.

Higher is better on every axis. Pure functions of arrays, exact for any number of tasks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perdure.analysis.record import Array
from perdure.core.errors import PerdureError


def pareto(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which of ``points`` ``[n, tasks]`` no other dominates, ``[n]``.

    One dominates another when it is nowhere lower and somewhere higher; equal ones stay.

    >>> pareto([[1, 3], [2, 2], [2, 1]]).tolist()
    [True, True, False]
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise PerdureError(f"expected points [n, tasks]; found {list(values.shape)}")
    no_lower = np.all(values[None] >= values[:, None], axis=-1)
    higher = np.any(values[None] > values[:, None], axis=-1)
    return np.asarray(~np.any(no_lower & higher, axis=1))


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Volume that ``points`` ``[n, tasks]`` dominate above ``reference`` ``[tasks]`` (Zitzler & Thiele 1998).

    Exact: staircases for two tasks, slices along the last task for more; the cost grows exponentially with
    the number of tasks.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], [0, 0])
    6.0
    """
    values, floor = np.asarray(points, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if values.ndim != 2 or not values.size or floor.shape != values.shape[1:]:
        raise PerdureError(
            "expected points [n, tasks] and a reference [tasks]; "
            f"found {list(values.shape)} and {list(floor.shape)}"
        )
    if not (np.isfinite(values).all() and np.isfinite(floor).all()):
        raise PerdureError("expected finite points and a finite reference; found others")
    return _volume(np.maximum(values - floor, 0.0))


def _volume(points: Array) -> float:
    """Volume of the union of the boxes from 0 to each point."""
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights = points[:, -1]
    depths = heights - np.append(heights[1:], 0.0)
    if points.shape[1] == 2:
        return float(np.maximum.accumulate(points[:, 0]) @ depths)
    total = 0.0
    for i in np.flatnonzero(depths > 0):
        slab = points[: i + 1, :-1]
        total += float(depths[i]) * _volume(slab[pareto(slab)])
    return total
