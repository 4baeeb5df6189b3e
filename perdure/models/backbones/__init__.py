"""Architectures that can be asked for by name."""
