"""Deletes the models and endpoint configurations that nobody will need again."""
