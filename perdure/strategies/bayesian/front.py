"""Fronts: what models for several preferences reach on each task, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.analysis.metrics import front
from perdure.core.errors import PerdureError


@dataclass(frozen=True, eq=False)
class Front:
    """Scores of models for several preferences, on every task.

    Parameters
    ----------
    preferences:
        ``[n, tasks]``, each on the simplex.
    scores:
        ``[n, models, tasks]``, higher is better: of as many models for each preference, one at least.
    """

    preferences: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        n, *rest = self.preferences.shape
        if self.scores.ndim != 3 or [len(self.scores), *self.scores.shape[2:]] != [n, *rest]:
            raise PerdureError(
                "expected preferences [n, tasks] and scores [n, models, tasks]; "
                f"found {list(self.preferences.shape)} and {list(self.scores.shape)}"
            )

    @property
    def points(self) -> Tensor:
        """Score of each task at each preference, ``[n, tasks]``: the mean over models."""
        return self.scores.double().mean(1)

    @property
    def weighted(self) -> Tensor:
        """What each preference w gets, ``[n]``: ``sum_t w_t score_t``."""
        return (self.preferences.to(self.points) * self.points).sum(-1)

    @property
    def peak(self) -> Tensor:
        """Best score of each task over all preferences and models, ``[tasks]``."""
        return self.scores.double().amax((0, 1))

    @property
    def efficient(self) -> Tensor:
        """Which points form the Pareto front, ``[n]`` bool."""
        return pareto(self.points)

    def volume(self, reference: float | Sequence[float]) -> float:
        """Return the hypervolume of the points above ``reference``: one number, or one for each task."""
        tasks = self.scores.shape[-1]
        return hypervolume(
            self.points, [reference] * tasks if isinstance(reference, int | float) else reference
        )


def pareto(points: Tensor) -> Tensor:
    """Tell which of ``points`` ``[n, tasks]`` (higher is better) no other dominates, ``[n]`` bool.

    One dominates another when it is nowhere lower and somewhere higher; equal ones stay.
    """
    return torch.as_tensor(front.pareto(points.detach().cpu().numpy()), device=points.device)


def hypervolume(points: Tensor, reference: Sequence[float] | Tensor) -> float:
    """Volume that ``points`` ``[n, tasks]`` (higher is better) dominate above ``reference`` ``[tasks]``.

    Exact (Zitzler & Thiele, 1998), by slicing; of exponential cost in the number of tasks.
    """
    floor = torch.as_tensor(reference, dtype=torch.float64)
    return front.hypervolume(points.detach().cpu().numpy(), floor.cpu().numpy())
