"""MultiTab-Bench: tasks over the same rows, whose weights have a correlation that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.draws import Draws
from perdure.scenarios.exact import Floats, factor, orthonormal, product
from perdure.scenarios.generators.correlations import (
    MOST_DEGREES,
    Correlations,
    of_labels,
    read,
    read_groups,
    solve,
    variance,
)
from perdure.scenarios.generators.correlations import needed as needed_for
from perdure.scenarios.generators.same_rows import Rows, Wish, in_bins, lay_out, rounded

MOST_TABLE_TASKS, MOST_FEATURES, MOST_LEVELS = 256, 4096, 1000
MOST_NUMBERS = 2**28  # that the inputs, or the labels, of a stream may have: 1 GB of them
PUBLISHED_CORRELATION, PUBLISHED_NOISE = 0.4, 0.01
# What a comparison takes unless it is told otherwise: labels are powers of the inputs, and gradients of their
# tails large, so that plain gradient descent diverges at rates at which it learns.
SETTINGS = {"model": "mlp(hidden=[64, 64])", "optimizer": "adam", "lr": 0.003, "epochs": 5}


@checked
def multitab_bench(
    tasks: int = 7,
    features: int = 32,
    correlation: Correlations | None = None,
    degrees: Literal["mixed"] | int | Sequence[int] = (1, 3, 2, 3, 4, 2, 3),
    *,
    samples: int = 10_000,
    val_samples: int = 2_000,
    test_samples: int = 4_000,
    signal_to_noise: float | None = None,
    noise: float | None = None,
    label_correlation: Correlations | None = None,
    groups: int | Sequence[int] = 1,
    between: float = 0.0,
    kind: Literal["regression", "classification"] = "regression",
    classes: int = 2,
    categorical: int = 0,
    levels: int = 4,
    missing: float | Sequence[float] = 0.0,
    setting: Literal["task", "joint"] = "task",
    per_stage: int = 1,
    seed: int = 0,
) -> Stream:
    """Make tasks over the same rows whose weights, or whose labels, are correlated as asked.

    Inputs are ``x ~ N(0, I_D)``; the label of task i is ``y_i = sum_{k=1..d_i} (w_i . x)^k + e_i`` with unit
    weights ``w_i``, the rows of ``W [T, D]``, for which ``W W^T = P`` to 1e-5: the correlation of the tasks.
    Labels are standardised with the mean and deviation of the training rows. ``W = F U``: a factor of
    ``P = F F^T`` (rank columns) times orthonormal rows, every set of which is equally likely, so that ``W``
    is distributed as with the root of ``P`` from its eigenvectors, and the same on every machine.

    ``P`` is not the correlation of the labels; ``stream.info`` holds both, as do results. Training,
    validation and test rows are drawn separately. All tasks share the tensor of their rows.

    Parameters
    ----------
    tasks, features:
        ``T``, 2 to 256, and ``D``, which must be at least the rank of ``P``.
    correlation:
        Of the tasks, ``P``: one number for all pairs, or a matrix ``[T, T]``, positive semidefinite with ones
        on its diagonal. Default: 0.4, unless ``label_correlation`` is given.
    degrees:
        ``d_i``, 1 to 8: one number, a list that is cycled over the tasks, or ``"mixed"``: 1 to 4, each as
        often, in drawn order.
    samples, val_samples, test_samples:
        Training, validation and test rows.
    signal_to_noise:
        Variance of the noiseless label over that of the noise, for every task.
    noise:
        Deviation of the noise instead, in the label's unit before it is standardised. Default: 0.01.
    label_correlation:
        Of the labels, noise included: a number or a matrix, instead of ``correlation``. ``P`` is solved for
        in closed form.
    groups, between:
        How many groups of tasks of about one size there are, or their sizes: the asked number then holds
        within a group, and ``between`` for tasks of different groups.
    kind, classes:
        ``"classification"`` cuts each label into so many classes, equally frequent in the training rows. The
        correlations are those of what is cut.
    categorical, levels:
        How many features, the last ones, come as categories: cut into so many equally likely bins, each a
        column that is 1 in its bin (``stream.info["columns"]``). Labels are made of what was cut.
    missing:
        Share of the training labels that are missing (NaN), or one for each task: not in validation and test
        rows.
    setting:
        ``"task"``: a sequence of tasks; ``"joint"``: all are learned at once. Each task has outputs of its
        own.
    per_stage:
        How many tasks form one task of the stream, with labels ``y [n, per_stage]``.
    seed:
        Decides everything that is drawn.

    Raises
    ------
    PerdureError
        For correlations that cannot be, with the nearest that can; fewer features than the rank of ``P``;
        labels that are constant, or a task without training labels; a classification whose classes would
        compete with those of other tasks.

    Examples
    --------
    >>> stream = multitab_bench(tasks=4, features=8, samples=100)
    >>> stream.names[:2], stream[0].train.x is stream[3].train.x
    (['task 1 (degree 1)', 'task 2 (degree 3)'], True)
    >>> stream.info["label_correlation"][0][:2]  # 0.4 among the tasks
    [1.0, 0.326582]

    Source: MultiTab-Bench, arXiv 2511.09970, with what it lacks: any correlation, that of labels,
    feasibility, standardised labels, disjoint parts, classes and categories.
    """
    check_whole("`tasks`", tasks, least=2, most=MOST_TABLE_TASKS)
    check_whole("`features`", features, most=MOST_FEATURES)
    check_whole("`categorical`", categorical, least=0, most=features)
    check_whole("`levels`", levels, least=2, most=MOST_LEVELS)
    widest = max(features + categorical * (levels - 1), tasks)
    sizes = tuple(
        check_whole(f"`{name}`", size, most=MOST_NUMBERS // widest)
        for name, size in (
            ("samples", samples), ("val_samples", val_samples), ("test_samples", test_samples)
        )
    )  # fmt: skip
    powers = _degrees(degrees, tasks, seed)
    deviations, heard = _noise(signal_to_noise, noise, powers)
    members = read_groups(groups, tasks)
    among = _correlation(correlation, label_correlation, members, between, powers, heard)
    weights = _weights(among, features, seed)
    wish = Wish(kind, classes, missing, setting, per_stage, "multitab-bench", seed)
    wish.check(tasks)
    info = {
        "task_correlation": rounded(among),
        "label_correlation": rounded(of_labels(among, powers, heard)),
        "degrees": powers,
        "groups": members,
        "noise": deviations.tolist(),
        "columns": {"numeric": features - categorical, "categories": [levels] * categorical},
        "parameters": {
            "tasks": tasks, "features": features, "correlation": _plain(correlation),
            "label_correlation": _plain(label_correlation), "between": between,
            "signal_to_noise": signal_to_noise, "kind": kind, "classes": classes,
            "missing": missing if isinstance(missing, int | float) else list(missing), "seed": seed,
        },
    }  # fmt: skip
    bench = _Bench(weights, powers, deviations, categorical, levels, seed)
    parts = [bench.draw(part, n) for part, n in zip(("train", "val", "test"), sizes, strict=True)]
    names = [f"task {t + 1} (degree {d})" for t, d in enumerate(powers)]
    return replace(lay_out(names, parts, wish, info), defaults=SETTINGS)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What rows and labels are drawn of."""

    weights: Floats
    degrees: list[int]
    deviations: Floats
    categorical: int
    levels: int
    seed: int

    def draw(self, part: str, n: int) -> Rows:
        """Return inputs ``[n, columns]`` float32 and real labels ``[n, T]``."""
        tasks, features = self.weights.shape
        x = Draws(self.seed, "inputs", part).normal(n * features).view(n, features).to(torch.float32)
        z = product(x.numpy().astype(np.float64), self.weights.T)
        y = np.zeros_like(z)
        for k in range(max(self.degrees), 0, -1):
            y += np.asarray(self.degrees) >= k
            y *= z
        y += Draws(self.seed, "noise", part).normal(n * tasks).view(n, tasks).numpy() * self.deviations
        return Rows(self._columns(x), y)

    def _columns(self, x: Tensor) -> Tensor:
        """Put categories in the place of the last features."""
        if not self.categorical:
            return x
        numeric = x.shape[1] - self.categorical
        return torch.cat([x[:, :numeric], *(in_bins(column, self.levels) for column in x.T[numeric:])], 1)


def _degrees(degrees: Literal["mixed"] | int | Sequence[int], tasks: int, seed: int) -> list[int]:
    if isinstance(degrees, str):
        return [int(place) % 4 + 1 for place in Draws(seed, "degrees").permutation(tasks)]
    asked = [degrees] if isinstance(degrees, int) else list(degrees)
    if not asked:
        raise PerdureError("`degrees` must be one number or more; found none")
    known = [check_whole("`degrees`", degree, most=MOST_DEGREES) for degree in asked]
    return [known[t % len(known)] for t in range(tasks)]


def _noise(ratio: float | None, noise: float | None, degrees: list[int]) -> tuple[Floats, Floats]:
    """Return the deviation of each task's noise, and the share of its label's deviation that is signal."""
    signal = np.array([variance(d) for d in degrees])
    if ratio is not None and noise is not None:
        raise PerdureError("expected `signal_to_noise` or `noise`; found both")
    if ratio is not None:
        deviations = np.sqrt(signal / check_number("`signal_to_noise`", ratio, ends="()"))
    else:
        level = PUBLISHED_NOISE if noise is None else check_number("`noise`", noise, high=1e6)
        deviations = np.full(len(degrees), float(level))
    return deviations, np.sqrt(signal / (signal + deviations * deviations))


def _correlation(
    correlation: Correlations | None,
    labels: Correlations | None,
    groups: list[int],
    between: float,
    degrees: list[int],
    heard: Floats,
) -> Floats:
    """Return the correlation of the tasks, asked for or solved for."""
    check_number("`between`", between, low=-1, high=1, ends="[]")
    if between and len(groups) == 1:
        raise PerdureError("`between` is for tasks of different groups: `groups` must be 2 or more; found 1")
    if labels is None:
        value = PUBLISHED_CORRELATION if correlation is None else correlation
        asked = read("correlation", value, groups, between)
        tasks = sum(groups)
        if asked.number is not None and asked.number < -1 / (tasks - 1):
            raise PerdureError(
                f"`correlation` must be at least -1 / (tasks - 1) for {tasks} tasks; found "
                f"{asked.number:g}: the nearest is {math.ceil(-1e4 / (tasks - 1)) / 1e4:.4f}"
            )
        return solve("correlation", asked, lambda matrix: matrix)
    if correlation is not None:
        raise PerdureError("expected `correlation` or `label_correlation`; found both")
    asked = read("label_correlation", labels, groups, between)
    return solve("label_correlation", asked, lambda matrix: needed_for(matrix, degrees, heard))


def _weights(among: Floats, features: int, seed: int) -> Floats:
    """Return weights ``W [T, D]`` with ``W W^T`` as asked."""
    root = factor(among)
    rank = root.shape[1]
    if features < rank:
        raise PerdureError(
            f"`features` must be at least {rank}, the rank of the correlation of {len(among)} tasks; found "
            f"{features}"
        )
    rows = Draws(seed, "weights").normal(rank * features).view(rank, features).numpy()
    weights = product(root, orthonormal(rows))
    off = float(np.abs(product(weights, weights.T) - among).max())
    if off > 1e-5:
        raise PerdureError(f"weights must have the asked correlation to 1e-5; found them off by {off:.1g}")
    return weights


def _plain(value: Correlations | None) -> Any:
    return value if value is None or isinstance(value, int | float) else "matrix"
