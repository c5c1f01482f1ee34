"""Counts what recommendations earned, by windows of 15 minutes."""
