"""Writes what a run was, on one page."""
