"""Figures: they draw what metrics and statistics return."""
