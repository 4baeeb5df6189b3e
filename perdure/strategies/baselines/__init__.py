"""What others are held against: plain sequential learning, joint training, a model for each task.

Beside them stands what only looks on: how far the gradients of tasks that are learned together agree.
"""

from perdure.strategies.baselines.joint import Cumulative, Joint
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.baselines.probe import Probe
from perdure.strategies.baselines.single import Single
from perdure.strategies.baselines.watch import WatchConflicts

__all__ = ["Cumulative", "Joint", "Naive", "Probe", "Single", "WatchConflicts"]
