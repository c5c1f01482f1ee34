"""Registers an accepted model, once per run."""
