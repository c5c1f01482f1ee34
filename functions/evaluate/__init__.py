"""Judges a trained model by its evaluation report."""
