"""What others are held against: plain sequential learning, joint training, a model for each task."""

from perdure.strategies.baselines.joint import Cumulative, Joint
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.baselines.probe import Probe
from perdure.strategies.baselines.single import Single

__all__ = ["Cumulative", "Joint", "Naive", "Probe", "Single"]
