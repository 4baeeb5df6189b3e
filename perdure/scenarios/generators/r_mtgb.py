"""The synthetic tasks of R-MTGB: random functions that tasks share, or not, and tasks that are outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.draws import Draws
from perdure.scenarios.exact import Floats, cos, product, total
from perdure.scenarios.generators.own_rows import assemble_drawn, check_size, cut

FOURIER = 500  # random features of a function
SMOOTH = 0.125  # length on which a function changes, times the number of inputs
PIECE = 32  # rows at a time: the processor's cache holds their features
MOST_TASKS, MOST_FEATURES = 1000, 1000
CONSTANT = 1e-9  # deviations below this are rounding


@checked
def r_mtgb(
    regime: Literal["pooled", "single", "multi-task", "outliers"] = "outliers",
    tasks: int = 10,
    features: int = 5,
    *,
    outliers: int = 2,
    specific: float = 0.1,
    kind: Literal["regression", "classification"] = "regression",
    noise: float = 0.0,
    samples: int = 300,
    val_samples: int = 100,
    test_samples: int = 1000,
    setting: Literal["task", "domain", "joint"] = "task",
    seed: int = 0,
) -> Stream:
    """Make tasks of random functions ``f(x) = sqrt(2 / 500) sum_k a_k cos(w_k . x / l + b_k)``.

    ``a_k ~ N(0, 1)``, ``w_k ~ N(0, I_D)``, ``b_k`` uniform in ``[0, 2 pi)``, ``l = D / 8``. Inputs are
    uniform in ``[-1, 1]^D``, each task's own. Labels are made of a function ``f`` that all tasks share and
    one of each task, ``f_t``, and standardised with the mean and deviation of all tasks' training rows
    together. The same numbers on every machine.

    Parameters
    ----------
    regime:
        ``"pooled"``: ``y = f``; ``"single"``: ``y = f_t``; ``"multi-task"``: ``y = .9 f + .1 f_t``;
        ``"outliers"``: likewise, but for the last tasks, whose ``y = f_t``.
    tasks, features:
        How many, and ``D``.
    outliers:
        How many tasks are outliers, in that regime: ``stream.info["outliers"]`` names them.
    specific:
        The share of ``f_t``, .1, where tasks share a function; the other has the rest.
    kind:
        ``"classification"``: two classes, whether the label is above the median of all training rows.
    noise:
        Deviation of normal noise on the labels before they are standardised; a function's is about 1.
    samples, val_samples, test_samples:
        Training, validation and test rows of each task.
    setting:
        ``"task"``: each task has outputs of its own; ``"domain"`` and ``"joint"``: they share them.
    seed:
        Decides everything that is drawn.

    Raises
    ------
    PerdureError
        For numbers out of their range.

    Examples
    --------
    >>> stream = r_mtgb(samples=50, test_samples=20)
    >>> stream.info["outliers"], stream.input_shape
    (['task 9 (outlier)', 'task 10 (outlier)'], (5,))

    Source: Emami, Martinez-Munoz and Hernandez-Lobato, Robust multi-task gradient boosting, 2025. Functions
    and regimes are theirs; the range of the inputs and the exact draws are ours.
    """
    check_whole("`tasks`", tasks, most=MOST_TASKS)
    check_whole("`features`", features, most=MOST_FEATURES)
    check_whole("`outliers`", outliers, least=0, most=tasks if regime == "outliers" else MOST_TASKS)
    check_number("`specific`", specific, high=1, ends="[]")
    check_number("`noise`", noise, high=1e6)
    named = zip(("samples", "val_samples", "test_samples"), (samples, val_samples, test_samples), strict=True)
    sizes = [check_whole(f"`{name}`", size) for name, size in named]
    check_size(sum(sizes) * tasks, features)
    apart = [regime == "single" or (regime == "outliers" and t >= tasks - outliers) for t in range(tasks)]
    shared = _Function.draw(seed, features, "shared")
    each = []
    for t in range(tasks):
        share = 1.0 if apart[t] else 0.0 if regime == "pooled" else specific
        x = Draws(seed, "inputs", t).uniform(sum(sizes) * features).view(-1, features) * 2 - 1
        rows = x.to(torch.float32)
        exact = rows.numpy().astype(np.float64)
        y = (1 - share) * shared(exact) if share < 1 else np.zeros(len(exact))
        y += share * _Function.draw(seed, features, "own", t)(exact) if share else 0.0
        y += noise * Draws(seed, "noise", t).normal(len(y)).numpy()
        each.append((rows, y))
    finish = _Finish.of(np.concatenate([y[:samples] for _, y in each]), kind)
    drawn = [cut(rows, torch.from_numpy(finish(y)), sizes) for rows, y in each]
    strange = [regime == "outliers" and one for one in apart]
    titles = [f"task {t + 1}" + (" (outlier)" if one else "") for t, one in enumerate(strange)]
    info = {
        "outliers": [title for title, one in zip(titles, strange, strict=True) if one],
        "parameters": {
            "regime": regime, "features": features, "specific": specific, "noise": noise, "seed": seed
        },
    }  # fmt: skip
    objective: Objective = Regression(by="r2") if kind == "regression" else Classification()
    reads = 1 if kind == "regression" else 2
    return assemble_drawn("r-mtgb", titles, drawn, objective, reads, setting, info)


@dataclass(frozen=True, eq=False)
class _Function:
    """A random function: frequencies ``[D, 500]``, shifts ``[500]`` and heights ``[500]``."""

    frequencies: Floats
    shifts: Floats
    heights: Floats

    @classmethod
    def draw(cls, seed: int, features: int, *purpose: str | int) -> _Function:
        """Draw one."""
        frequencies = Draws(seed, "frequencies", *purpose).normal(features * FOURIER).view(features, FOURIER)
        shifts = Draws(seed, "shifts", *purpose).uniform(FOURIER) * (2 * math.pi)
        heights = Draws(seed, "heights", *purpose).normal(FOURIER) * math.sqrt(2 / FOURIER)
        return cls(frequencies.numpy() / (SMOOTH * features), shifts.numpy(), heights.numpy())

    def __call__(self, x: Floats) -> Floats:
        """Return the values ``[n]`` at ``x [n, D]``."""
        pieces = [x[start : start + PIECE] for start in range(0, len(x), PIECE)]
        waves = (cos(product(piece, self.frequencies) + self.shifts) * self.heights for piece in pieces)
        return np.concatenate([total(wave.T) for wave in waves])


@dataclass(frozen=True)
class _Finish:
    """What becomes of labels, by what the training rows of all tasks say."""

    centre: float
    scale: float | None

    @classmethod
    def of(cls, y: Floats, kind: str) -> _Finish:
        """Learn mean and deviation, or the median, above which a label is the second class."""
        if kind == "classification":
            return cls(float(np.sort(y)[len(y) // 2]), None)
        mean = float(total(y)) / len(y)
        deviation = math.sqrt(float(total((y - mean) * (y - mean))) / len(y))
        if deviation < CONSTANT:
            raise PerdureError(f"the tasks must have labels that vary; found {len(y)} equal training labels")
        return cls(mean, deviation)

    def __call__(self, y: Floats) -> np.ndarray[Any, Any]:
        """Return labels as parts hold them."""
        if self.scale is None:
            return (y >= self.centre).astype(np.int64)
        return ((y - self.centre) / self.scale).astype(np.float32)
