"""Recording the mapped step once, and running the record."""
