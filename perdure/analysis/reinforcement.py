"""What results say about continual reinforcement learning, as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.analysis import changes, efficiency
from perdure.analysis.efficiency import Threshold
from perdure.analysis.metrics import needs, worlds
from perdure.analysis.record import Array, Record
from perdure.core.errors import PerdureError

if TYPE_CHECKING:
    import pandas as pd


class Reinforcement(Record):
    """What counts steps of environments, and what each task does to each other."""

    def environment_steps(self, strategy: str) -> Array:
        """Steps of the environment at each evaluation of a strategy's curve, ``[K]``.

        ``results.curves[strategy].steps`` are those of training. How many of the environment one of them
        stands for is said by the stream, in ``info["world_steps_per_step"]``: a number, or one for each task.
        Refused where it says nothing, and without a curve.
        """
        needs.check_strategy_name(self, strategy)
        if worlds.told(self, "world_steps_per_step") is None:
            raise PerdureError(
                "expected a stream that says how many environment steps a training step stands for, in "
                "info['world_steps_per_step']; found one that does not"
            )
        found: Array = needs.NEEDS["curve_steps"](self, strategy)
        return found

    def steps_to_threshold(self, strategy: str, threshold: Threshold = None) -> Array:
        """Steps of each task's own training until its score first reached a threshold, ``[replica, task]``.

        Steps of the environment where the stream says how many a training step stands for, else of training.
        NaN where the threshold was never reached, and for a replica that diverged. Counted from one
        evaluation (``eval_every``) to another, so up to one distance too long.

        Parameters
        ----------
        strategy:
            One that learns task after task, or single.
        threshold:
            A score, or one for each task. By default what the stream says in ``info["threshold"]``, or 95 %
            of the way to its ``info["best"]``; refused where it says neither.
        """
        return efficiency.of(self, strategy, threshold)

    def sample_efficiency(self, threshold: Threshold = None, confidence: float = 0.95) -> pd.DataFrame:
        """Steps that each task took until a threshold, with bootstrap intervals over seeds.

        Columns: strategy, task (counted from 0), task_name, threshold, mean, low, high, seeds, reached. Seeds
        that never reached the threshold are not dropped: they count with all the steps of the task's training
        (the restricted mean of survival analysis), so that where ``reached`` is less than ``seeds`` the mean
        is a lower bound. ``frame.attrs["unit"]`` says what steps are of. Otherwise as
        :meth:`steps_to_threshold`.
        """
        return efficiency.table(self, threshold, confidence)

    def isolated_forgetting(self, strategy: str) -> Array:
        """What learning each task took from each earlier one, ``[replica, stage, task]``, NaN elsewhere.

        ``(R[i-1, j] - R[i, j]) / max_l |R[l, j]|`` for j < i; its mean is the metric of the same name.
        Source: Powers et al., CoLLAs 2022.
        """
        return changes.isolated_forgetting(self, strategy)

    def zero_shot_transfer(self, strategy: str) -> Array:
        """What learning each task gave each later one, ``[replica, stage, task]``, NaN elsewhere.

        ``(R[i, j] - R[i-1, j]) / max_l |R[l, j]|`` for j > i, with the untrained model's scores before the
        first stage; its mean is the metric of the same name. Source: Powers et al., CoLLAs 2022.
        """
        return changes.zero_shot_transfer(self, strategy)
