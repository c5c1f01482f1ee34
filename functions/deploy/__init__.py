"""Moves the endpoint to a run's model, or back."""
