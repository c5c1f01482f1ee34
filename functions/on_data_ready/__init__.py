"""Checks a new dataset version and starts the one run that learns from it."""
