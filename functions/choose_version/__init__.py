"""Chooses the model version of a rollback."""
