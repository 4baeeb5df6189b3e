"""Sums of regression trees, grown one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]


@dataclass(eq=False)
class Ensemble:
    """A sum of trees ``F(x) = rate * sum_m h_m(x)``, ``[n, K]``; without trees it is 0.

    Parameters
    ----------
    columns:
        ``K``.
    max_depth:
        Questions from a tree's root to a leaf at most: 2^max_depth leaves.
    rate:
        The learning rate.
    """

    columns: int
    max_depth: int
    rate: float
    trees: list[tuple[Any, Array]] = field(default_factory=list)

    def grow(self, x: Inputs, residuals: Array, there: Array, seed: int) -> Array:
        """Add a tree that fits ``residuals [n, K]``, and return what it adds at ``x [n, D]``, ``[n, K]``.

        A leaf's value is the mean of the residuals that are there (``there [n, K]`` is 1) in it.
        """
        from sklearn.tree import DecisionTreeRegressor

        if not len(x):
            return np.zeros_like(residuals)
        tree = DecisionTreeRegressor(max_depth=self.max_depth, random_state=seed)
        # What it would look at is right already: looking takes as long as growing a small tree.
        nodes = tree.fit(x, residuals, check_input=False).tree_
        at = nodes.apply(x)
        sums, counts = (_sums(at, values, nodes.node_count) for values in (residuals * there, there))
        self.trees.append((nodes, self.rate * sums / np.maximum(counts, 1)))
        return np.asarray(self.trees[-1][1][at])

    def __call__(self, x: Inputs) -> Array:
        """Return the values at ``x [n, D]``."""
        found = np.zeros((len(x), self.columns))
        for nodes, values in self.trees:
            found += values[nodes.apply(x)]
        return found

    @property
    def parameters(self) -> int:
        """How many numbers it is made of: a feature and a threshold per question, ``K`` values per leaf."""
        leaves = sum(nodes.n_leaves for nodes, _ in self.trees)
        questions = sum(nodes.node_count for nodes, _ in self.trees) - leaves
        return int(2 * questions + self.columns * leaves)


def _sums(at: npt.NDArray[np.int64], values: Array, nodes: int) -> Array:
    """Sums of ``values [n, K]`` over the rows at each node, ``[nodes, K]``."""
    return np.stack([np.bincount(at, column, nodes) for column in values.T], 1)
