"""Optimisers and learning-rate schedules, as pure functions of one replica."""

from perdure.optim.adam import Adam
from perdure.optim.adamw import AdamW
from perdure.optim.optimizer import OPTIMIZERS, Optimizer
from perdure.optim.scaled import Scaled
from perdure.optim.schedules import SCHEDULES
from perdure.optim.sgd import SGD

__all__ = ["OPTIMIZERS", "SCHEDULES", "SGD", "Adam", "AdamW", "Optimizer", "Scaled"]
