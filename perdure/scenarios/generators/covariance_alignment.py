"""Linear tasks whose inputs have covariances that are aligned, or not."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from perdure.core.checks import check_number, check_whole, checked
from perdure.scenarios.contract.objective import Regression
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.draws import Draws
from perdure.scenarios.exact import Floats, orthonormal, product, total
from perdure.scenarios.generators.own_rows import assemble_drawn, check_size, cut

MOST_TASKS, MOST_FEATURES = 100, 512


@checked
def covariance_alignment(
    alignment: Literal["same", "rotated", "scaled"] = "rotated",
    tasks: int = 2,
    features: int = 20,
    *,
    condition: float = 100.0,
    scale: float = 10.0,
    similarity: float = 1.0,
    noise: float = 0.1,
    samples: int = 1000,
    target_samples: int = 50,
    val_samples: int = 200,
    test_samples: int = 1000,
    setting: Literal["task", "domain", "joint"] = "task",
    seed: int = 0,
) -> Stream:
    """Make a task with many rows, and others with few whose inputs vary in the same directions, or in others.

    ``x = Q_t L^(1/2) z`` with ``z ~ N(0, I_D)``, ``Q_t`` a rotation and ``L`` the eigenvalues of the
    covariance ``Q_t L Q_t^T``, evenly spaced in their logarithms, of mean 1; ``y = w_t . x + e``. A shared
    layer that is fitted to the first task serves the others where the covariances are aligned, and harms
    them otherwise (negative transfer). Labels are divided by the deviation that the first task's have, in
    closed form.

    Parameters
    ----------
    alignment:
        Of the other tasks with the first: ``"same"``: the same rotation; ``"rotated"``: another one, drawn;
        ``"scaled"``: the same, and the inputs ``scale`` times as large.
    tasks, features:
        How many, and ``D``.
    condition:
        Largest over smallest eigenvalue of every covariance.
    scale:
        What the other tasks' inputs are multiplied with, where they are scaled.
    similarity:
        Cosine of the first task's weights and those of each other one.
    noise:
        Deviation of ``e`` over that of the first task's ``w . x``.
    samples, target_samples:
        Training rows of the first task, and of each other one.
    val_samples, test_samples:
        Validation and test rows of each task.
    setting:
        ``"task"``: each task has an output of its own; ``"domain"`` and ``"joint"``: they share it.
    seed:
        Decides everything that is drawn.

    Raises
    ------
    PerdureError
        For numbers out of their range.

    Examples
    --------
    >>> stream = covariance_alignment("same", samples=100)
    >>> [len(task.train) for task in stream], stream.names
    ([100, 50], ['source', 'target 1 (same)'])

    Source: Wu, Zhang and Ré, Understanding and improving information transfer in multi-task learning, ICLR
    2020, section 2; the sizes and the spacing of the eigenvalues are ours.
    """
    check_whole("`tasks`", tasks, least=2, most=MOST_TASKS)
    check_whole("`features`", features, least=2, most=MOST_FEATURES)
    check_number("`condition`", condition, low=1, high=1e6, ends="[]")
    check_number("`scale`", scale, high=1e3, ends="(]")
    check_number("`similarity`", similarity, low=-1, high=1, ends="[]")
    check_number("`noise`", noise, high=1e3)
    rows = {"samples": samples, "target_samples": target_samples, "val_samples": val_samples,
            "test_samples": test_samples}  # fmt: skip
    for name, number in rows.items():
        check_size(check_whole(f"`{name}`", number) * tasks, features)
    values = _eigenvalues(features, condition)
    base = _rotation(seed, features, 0)
    # Unit weights of the tasks: the first's, and what is orthogonal to it in each other one.
    first = orthonormal(Draws(seed, "weights", 0).normal(features).numpy()[None])[0]
    weights = [first]
    for t in range(1, tasks):
        other = orthonormal(np.stack([first, Draws(seed, "weights", t).normal(features).numpy()]))[1]
        weights.append(similarity * first + math.sqrt(1 - similarity * similarity) * other)
    along = product(first[None], base)[0]
    unit = math.sqrt(float(total(values * along * along)))
    drawn = []
    for t in range(tasks):
        rotation = _rotation(seed, features, t) if alignment == "rotated" else base
        size = scale if alignment == "scaled" and t else 1.0
        sizes = [target_samples if t else samples, val_samples, test_samples]
        z = Draws(seed, "inputs", t).normal(sum(sizes) * features).view(-1, features).numpy()
        x = torch.from_numpy(product(z * np.sqrt(values), rotation.T) * size).to(torch.float32)
        y = product(x.numpy().astype(np.float64), weights[t][:, None])[:, 0] / unit
        y += noise * Draws(seed, "noise", t).normal(len(y)).numpy()
        drawn.append(cut(x, torch.from_numpy(y).to(torch.float32), sizes))
    titles = ["source", *(f"target {t} ({alignment})" for t in range(1, tasks))]
    info = {
        "eigenvalues": values.round(6).tolist(),
        "parameters": {
            "alignment": alignment, "condition": condition, "scale": scale if alignment == "scaled" else 1.0,
            "similarity": similarity, "noise": noise, "seed": seed,
        },
    }  # fmt: skip
    return assemble_drawn("covariance-alignment", titles, drawn, Regression(by="r2"), 1, setting, info)


def _eigenvalues(features: int, condition: float) -> Floats:
    # Rounded: the last digit of a power depends on the machine.
    found = np.array([round(condition ** (-k / (features - 1)), 12) for k in range(features)])
    return found / (total(found) / features)


def _rotation(seed: int, features: int, task: int) -> Floats:
    drawn = Draws(seed, "rotation", task).normal(features * features).view(features, features)
    return orthonormal(drawn.numpy())
