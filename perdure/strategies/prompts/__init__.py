"""Prompts that a frozen transformer reads before its input."""

from perdure.strategies.prompts.l2p import L2P

__all__ = ["L2P"]
