"""Starts the job that writes a list for every known user."""
