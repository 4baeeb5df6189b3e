"""Multi-task modules that are made out of one model: what tasks share, and what is each task's own."""

from perdure.models.sharing.multitab_net import MultiTabNet

__all__ = ["MultiTabNet"]
