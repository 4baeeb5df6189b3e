"""Prompts that a frozen transformer reads before its input."""
