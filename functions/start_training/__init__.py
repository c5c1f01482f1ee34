"""Starts the training job of a run."""
