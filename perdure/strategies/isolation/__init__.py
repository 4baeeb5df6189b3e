"""Weights of its own for each task."""
