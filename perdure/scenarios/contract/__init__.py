"""What scenarios are made of: parts, tasks, streams, and the check that they hold together."""
