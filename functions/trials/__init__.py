"""Moves the share of a trial of two models, and ends it with a verdict."""
