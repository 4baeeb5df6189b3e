"""Apps, one a file: each has `APP`, and the templates of its tasks."""
