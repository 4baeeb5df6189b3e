"""What results say about learning several tasks together, as methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.analysis import anchors, conflicts, fronts, gains
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

    def front(self, tasks: Sequence[int] | None = None) -> pd.DataFrame:
        """Return the strategies' mean final scores on some tasks (all by default), and who is on the front.

        ``front`` tells whether no other strategy is at least as good on each of these tasks and better on
        one; ``share`` is the share of seeds for which that holds.
        """
        return fronts.table(self, tasks)

    def hypervolume(
        self,
        reference: float | Sequence[float] | None = None,
        tasks: Sequence[int] | None = None,
        strategies: Sequence[str] | None = None,
    ) -> Array:
        """Volume that the final scores of strategies together dominate above a reference, ``[replica]``.

        Parameters
        ----------
        reference:
            A score, or one for each task; by default chance: 0 for R2, 0.5 for AUROC, else the mean score of
            the untrained model. Only volumes of one reference can be compared.
        tasks:
            Which ones, up to six; all by default.
        strategies:
            Whose points; all by default.
        """
        return fronts.volumes(self, reference, tasks, strategies)

    def between_anchors(
        self, low: str | None = None, high: str | None = None, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Where each strategy's average score stands between two anchors: 0 is the low one, 1 the high one.

        Columns: from, to, strategy, anchor (which one the strategy is, if any), mean, low, high, seeds. Means
        over seeds are divided, as for gap closed, which is the position between naive and joint.

        Parameters
        ----------
        low:
            ``"chance"`` (a constant or untrained predictor) or ``"naive"``; both by default.
        high:
            ``"joint"`` or ``"single"``; both by default.
        confidence:
            Of the intervals, in (0, 1).

        Raises
        ------
        PerdureError
            When an anchor was not measured, or the high one is not clearly above the low one.
        """
        return anchors.table(self, low, high, confidence)
