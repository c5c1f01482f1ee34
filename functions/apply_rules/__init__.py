"""Applies changed business rules, if they are valid."""
