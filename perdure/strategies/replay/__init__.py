"""A memory of earlier samples."""
