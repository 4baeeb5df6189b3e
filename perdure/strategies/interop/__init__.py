"""Learners of other libraries."""
