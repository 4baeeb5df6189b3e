"""Weights of its own for each task."""

from perdure.strategies.isolation.packnet import PackNet

__all__ = ["PackNet"]
