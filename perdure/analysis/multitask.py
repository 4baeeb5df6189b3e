"""What results say about learning several tasks together, as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.analysis import conflicts, gains
from perdure.analysis.record import Array, Record

if TYPE_CHECKING:
    import pandas as pd


class Multitask(Record):
    """What compares strategies task by task, with learning each task alone and with each other."""

    def gain(self, strategy: str, relative: bool = True) -> Array:
        """Gain of a strategy over single-task learning on each task, ``[replica, task]``.

        In percent, ``100 (M_t - S_t) / |S_t|``, with M the final scores and S those of the single-task
        learner; with ``relative=False`` the differences ``M_t - S_t``, whose smallest is the safeness.
        Positive is better also where lower scores are. NaN for a seed that diverged, or whose S is 0.
        Refused without a single-task learner among the strategies. Source: Maninis et al., CVPR 2019.
        """
        return gains.of(self, strategy, relative)

    def gains(self, relative: bool = True, confidence: float = 0.95) -> pd.DataFrame:
        """Gain of every strategy on every task, with bootstrap intervals over seeds.

        Columns: strategy, task (counted from 0), task_name, mean, low, high, seeds, and worst, which marks
        the task that a strategy serves worst. Percents are means over seeds divided, as in :meth:`table`.
        ``relative=False`` gives differences of scores.
        """
        return gains.table(self, relative, confidence)

    def conflicts(self, confidence: float = 0.95) -> pd.DataFrame:
        """Share of the pairs of tasks whose gradients conflict (cosine below 0), along training.

        Of every strategy that was run with ``watch-conflicts``; refused where none was. Columns: strategy,
        step (the middle of a stretch of training), mean, low, high, seeds.
        """
        return conflicts.table(self, confidence)

    def cosines(self, strategy: str) -> Array:
        """Mean cosine of each pair of tasks' gradients over training, ``[replica, task, task]``.

        NaN for a seed that diverged; refused where the gradients were not watched.
        """
        return conflicts.of(self, strategy).cosines

    def affinity(self, strategy: str) -> Array:
        """Affinity of each task (second axis) for each other (third), ``[replica, task, task]``.

        The share of the other task's loss that a step of unit length against the first one's gradient takes
        away, to first order, meaned over training: multiply it by the learning rate to compare with the
        affinity of Fifty et al. (NeurIPS 2021). Negative: learning the first undoes the other.
        """
        return conflicts.of(self, strategy).affinity
