"""Sets of posteriors, and models for preferences among tasks."""
