"""Deletes old models and endpoint configurations."""
