"""What one strategy's run measured, before it becomes results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perdure.analysis.results import Curve
from perdure.settings import Settings
from perdure.trained import Trained


@dataclass
class Outcome:
    """What one strategy's run measured, with a leading axis of replicas.

    ``diverged`` tells of each replica whether its weights are not finite, where that was looked at.
    """

    untrained: Tensor
    scores: list[Tensor] = field(default_factory=list)
    curve: list[tuple[int, int, Tensor]] = field(default_factory=list)
    validation: Tensor | None = None
    diverged: Tensor | None = None
    costs: dict[str, float] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trained: Trained | None = None

    def choose(self, settings: Settings) -> Outcome:
        """Keep the replicas of the grid point whose validation scores are best, meaned over seeds."""
        if self.validation is None:
            return self
        seeds = len(settings.seeds)
        means = self.validation.mean(1).view(-1, seeds).mean(1)
        best = int(means.nan_to_num(-torch.inf).argmax())
        kept = slice(best * seeds, (best + 1) * seeds)
        tried = [{**point, "validation": float(m)} for point, m in zip(settings.grid, means, strict=True)]
        chosen = replace(
            self,
            untrained=self.untrained[kept],
            scores=[s[kept] for s in self.scores],
            curve=[(step, stage, s[kept]) for step, stage, s in self.curve],
            validation=None,
            diverged=None if self.diverged is None else self.diverged[kept],
            extras={**self.extras, "chosen": settings.grid[best], "tried": tried},
            trained=None if self.trained is None else self.trained.chosen(kept),
        )
        return chosen.told(settings.seeds)

    def told(self, seeds: Sequence[int]) -> Outcome:
        """Return the outcome with the seeds that diverged among its extras: results then name them."""
        lost = ~torch.stack(self.scores).isfinite().all(0).all(1)
        if self.diverged is not None:
            lost = lost | self.diverged
        gone = [seed for seed, one in zip(seeds, lost.tolist(), strict=True) if one]
        return replace(self, extras={**self.extras, "diverged": gone})

    def get_curve(self) -> Curve:
        """Return the evaluations during training."""
        steps, stages, scores = zip(*self.curve, strict=True)
        return Curve(np.array(steps), np.array(stages), array(torch.stack(scores, 1)))


def array(values: Tensor) -> npt.NDArray[np.float64]:
    """Bring scores to the host."""
    return values.double().cpu().numpy()
